"""What a results folder holds beside whole records: each file with what is wrong, and the sentences that say it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from virb.errors import RecordError
from virb.records.record import Record

if TYPE_CHECKING:
    pass


DAMAGED, MISPLACED, PREDICTIONS, LEFTOVER, FOREIGN, OLD = (
    "damaged",
    "misplaced",
    "predictions",
    "leftover",
    "foreign",
    "old",
)


@dataclass(frozen=True)
class Problem:
    """A file of a results folder that is not a whole record of this version, and why."""

    path: Path
    kind: str  # DAMAGED, MISPLACED, PREDICTIONS (which alone are damaged), LEFTOVER (of a killed run), FOREIGN, OLD
    reason: str


@dataclass
class Scan:
    """What a results folder holds: its whole records in the order of their paths, and all else."""

    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def sentences(self, *, most: int = 20) -> list[str]:
        """Return what a reader of a table of these records must know: every damaged file, the others by number."""
        named = [problem for problem in self.problems if problem.kind in (DAMAGED, MISPLACED)]
        out = [f"{problem.reason} It is not in the table." for problem in named[:most]]
        bare = [problem for problem in self.problems if problem.kind == PREDICTIONS]
        out += [f"{problem.reason} Its score is in the table." for problem in bare[:most]]
        if max(len(named), len(bare)) > most:
            out.append(f"Of {len(named) + len(bare)} files that are not whole the first {most} are named.")
        if named or bare:
            out.append("Run the same virb evaluate again, or see: virb results check.")
        old = [problem for problem in self.problems if problem.kind == OLD]
        if old:
            out.append(
                f"{len(old)} record{'s' * (len(old) > 1)} of virb 0.1 (the first: {old[0].path}) do{'es' * (len(old) == 1)} "
                "not say on what data and by which settings the score was made; virb evaluate computes such records again."
            )
        other = [problem for problem in self.problems if problem.kind in (LEFTOVER, FOREIGN)]
        if other:
            out.append(
                f"{len(other)} other file{'s' * (len(other) > 1)} in the results folder (the first: {other[0].path}); "
                "see: virb results check."
            )
        return out


class MisplacedError(RecordError):
    """A whole record that lies where another belongs."""


class PredictionsError(RecordError):
    """A whole record whose predictions are missing, damaged or another's."""

    def __init__(self, text: str, record: Record) -> None:
        super().__init__(text)
        self.record = record
