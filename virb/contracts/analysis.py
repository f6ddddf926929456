"""What an analysis is: scores to tables, tables to figures, tables to sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from virb.contracts.parts import Option as Option
from virb.contracts.parts import check_names
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class NotApplicable(ScoresError):
    """The input is sound but lacks what this analysis is about; `virb analyze all` skips it and says why."""


def comma_list(text: str) -> tuple[str, ...]:
    """Split ``"a, b"`` into ``("a", "b")``; the type of options that take several names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class Analysis:
    """Three functions, so that a simulation or the report can have the numbers without the picture.

    - ``compute(scores, notes, **options)`` returns :class:`~virb.contracts.tables.Tables` (or a dict of frames, "" the
      main one), and says in ``notes`` what it left out or took for granted.
    - ``draw(tables)`` returns figures by part ("" the main one); none where there is nothing to see.
    - ``say(tables)`` returns sentences: what was found.

    - ``typeset(tables)``, where there is one, lays the main table out as a paper prints it
      (:class:`virb.figures.tables.Table`): in bold the best and what the analysis's own test does not tell from it, with a
      caption that names the test.

    ``draw`` and ``say`` see the tables alone, as they are read back from their files. ``scores`` is the tidy frame of :func:`virb.scores.read.read_scores`. ``needs`` names columns beyond encoder, task and
    score. ``needs_predictions`` asks for a results folder, whose path is then in ``scores.attrs["results"]``.
    Without ``needs_scores`` the analysis looks at encoders and images that its options name, and ``scores`` may be
    None. ``source`` is the paper and figure or table that the analysis repeats.
    """

    name: str
    summary: str
    source: str
    compute: Callable[..., Mapping[str, DataFrame]]
    draw: Callable[[Tables], Mapping[str, Figure]]
    say: Callable[[Tables], Sequence[str]]
    typeset: Callable[[Tables], Any] | None = None
    needs: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    min_encoders: int = 1
    min_tasks: int = 1
    needs_predictions: bool = False
    needs_scores: bool = True

    def reason_not_to_run(self, scores: DataFrame | None) -> str | None:
        """Say in one sentence what ``scores`` lacks for this analysis, or return None."""
        if not self.needs_scores:
            return None
        if scores is None:
            return "it needs scores; name them with --results"
        missing = [column for column in self.needs if column not in scores.columns]
        if missing:
            return f"it needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}, which the scores do not have"
        for what, minimum in (("encoder", self.min_encoders), ("task", self.min_tasks)):
            found = scores[what].nunique()
            if found < minimum:
                return f"it needs at least {minimum} {what}s, and the scores have {found}"
        if self.needs_predictions and not scores.attrs.get("results"):
            return "it needs predictions per example, which lie in a results folder, and was given a table of scores"
        return None

    def tables(self, scores: DataFrame | None, notes: Notes | None = None, **options: Any) -> Tables:
        """Compute on a copy of ``scores`` with ``options`` (defaults filled in); the result is in its normal form.

        ``notes`` keeps what was said where computing ends in an error.
        """
        notes = Notes() if notes is None else notes
        found = self.compute(None if scores is None else scores.copy(), notes, **self.parse_options(options))
        tables = found if isinstance(found, Tables) else Tables(found)
        tables.notes = notes
        return tables.in_normal_form()

    def own_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Those of ``given`` that this analysis has."""
        names = {option.name for option in self.options}
        return {name: value for name, value in given.items() if name in names}

    def parse_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every option's value, defaults filled in. Raises UsageError for an unknown name or a bad value."""
        check_names([option.name for option in self.options], given, f"The analysis {self.name!r}")
        return {option.name: option.parse(given.get(option.name, option.default)) for option in self.options}


def names_in_words(names: Sequence[object], limit: int = 6) -> str:
    """Join names for a message: ``a, b and 3 more``."""
    shown = [str(name) for name in names[:limit]]
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
