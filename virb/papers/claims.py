"""Ask every claim of a paper of its tables, the published ones or ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from virb.contracts.paper import UNTOLD, VERDICTS, Answer, Claim, Evidence, NotThere, Paper
from virb.errors import RegistryError, ScoresError


@dataclass(frozen=True)
class Answered:
    """A claim with its answer."""

    claim: Claim
    answer: Answer

    def row(self) -> dict[str, Any]:
        """The two as one flat row; an interval without an end is None."""
        import math

        found = self.answer
        numbers = {
            key: None if value is None or not math.isfinite(value) else value
            for key, value in (
                ("estimate", found.estimate),
                ("low", found.low),
                ("high", found.high),
                ("p", found.pvalue),
            )
        }
        return {
            "claim": self.claim.name,
            "answer": found.verdict,
            "sentence": self.claim.sentence,
            "where": self.claim.where,
            **numbers,
            "unit": found.unit,
            "n": found.n,
            "of": found.of,
            "about": found.about,
            "why": found.why,
        }


def ask(paper: Paper, tables: Evidence, names: Sequence[str] = ()) -> list[Answered]:
    """Return the answer of each claim, or of those called ``names``; one that lacks its table cannot be told.

    Raises:
        RegistryError: there is no claim of a name.
    """
    known = {claim.name: claim for claim in paper.claims}
    for name in names:
        if name not in known:
            raise RegistryError(f"{paper.name} has no claim {name!r}; it has {', '.join(known)}.")
    return [Answered(claim, answer(claim, tables)) for claim in paper.claims if not names or claim.name in names]


def answer(claim: Claim, tables: Evidence) -> Answer:
    """Return what ``tables`` say of ``claim``; where they lack what its test asks for, that it cannot be told, and why."""
    try:
        return claim.test(tables)
    except NotThere as error:
        return Answer(UNTOLD, str(error), 0, "none")
    except ScoresError as error:
        return Answer(UNTOLD, f"The test refuses these tables: {error}", 0, "none")


def counted(answers: Sequence[Answered]) -> str:
    """ "3 hold, 1 fails, 5 cannot be told"."""
    n = {verdict: sum(one.answer.verdict == verdict for one in answers) for verdict in VERDICTS}
    return ", ".join(
        f"{count} {word.replace('holds', 'hold').replace('fails', 'fail') if count != 1 else word}"
        for word, count in n.items()
    )


def interval(found: Answer) -> str:
    """The estimate with its interval and unit in words; empty where there is none."""
    import math

    if found.estimate is None:
        return ""
    text = f"{found.estimate:.3g}"
    if found.low is not None and found.high is not None:
        ends = [f"{end:.3g}" if math.isfinite(end) else "no bound" for end in (found.low, found.high)]
        text += f" ({ends[0]} to {ends[1]})"
    return f"{text} {found.unit}".strip()


def is_told(found: Answer) -> bool:
    return found.verdict != UNTOLD
