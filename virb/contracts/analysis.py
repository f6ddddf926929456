"""What an analysis is: scores to tables, tables to figures, tables to sentences; and how one is run."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError, VirbError
from virb.system.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class NotApplicable(ScoresError):
    """The input is sound but lacks what this analysis is about; `virb analyze all` skips it and says why."""


@dataclass(frozen=True)
class Option:
    """One setting of an analysis, as ``--option name=value`` gives it: ``type`` turns the text into the value."""

    name: str
    default: Any
    help: str
    type: Callable[[str], Any] = str
    choices: tuple[Any, ...] = ()

    def parse(self, value: Any) -> Any:
        """Return ``value`` as the option's type. Raises UsageError for a text that is not one."""
        if isinstance(value, str):
            try:
                value = self.type(value)
            except (TypeError, ValueError):
                kind = getattr(self.type, "__name__", str(self.type)).replace("_", " ")
                raise UsageError(f"Option {self.name!r}: {value!r} is not of the type {kind}. {self.help}") from None
        if self.choices and value not in self.choices:
            expected = ", ".join(str(choice) for choice in self.choices)
            raise UsageError(f"Option {self.name!r}: {value!r} is not one of {expected}.")
        return value


def comma_list(text: str) -> tuple[str, ...]:
    """Split ``"a, b"`` into ``("a", "b")``; the type of options that take several names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def yes_no(text: str) -> bool:
    """Read a truth value from text. Raises ValueError for anything but yes/no, true/false, 1/0."""
    lowered = text.strip().lower()
    if lowered in ("yes", "true", "1"):
        return True
    if lowered in ("no", "false", "0"):
        return False
    raise ValueError(text)


@dataclass(frozen=True)
class Analysis:
    """Three functions, so that a simulation or the report can have the numbers without the picture.

    - ``compute(scores, notes, **options)`` returns :class:`~virb.contracts.tables.Tables` (or a dict of frames, "" the
      main one), and says in ``notes`` what it left out or took for granted.
    - ``draw(tables)`` returns figures by part ("" the main one); none where there is nothing to see.
    - ``say(tables)`` returns sentences: what was found.

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
        known = {option.name: option for option in self.options}
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise UsageError(f"The analysis {self.name!r} has no option {name!r}; {has}.{hint}")
        return {name: option.parse(given.get(name, option.default)) for name, option in known.items()}


@dataclass
class Outputs:
    """Where one analysis writes. Files are ``<folder>/<name>.<ending>`` or ``<folder>/<name>-<part>.<ending>``."""

    folder: Path
    name: str
    files: list[Path] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def _path(self, part: str, ending: str) -> Path:
        stem = f"{self.name}-{part}" if part else self.name
        return Path(self.folder) / f"{stem}.{ending}"

    def figure(self, figure: Figure, part: str = "") -> None:
        """Write ``figure`` as PNG and SVG and close it."""
        from virb.figures import plots

        for ending in ("png", "svg"):
            path = self._path(part, ending)
            with atomic_write(path) as file:
                plots.save(figure, file, ending)
            self.files.append(path)
            figure.set_layout_engine("none")  # what is laid out once need not be again
        plots.close(figure)

    def tables(self, tables: Tables) -> None:
        """Write ``tables`` as CSV."""
        self.files += tables.write(self.folder, self.name)


@dataclass
class AnalysisRun:
    """What came of one analysis: "done", "skipped" (it does not apply; ``reason`` says why) or "failed"."""

    name: str
    status: str
    reason: str
    files: list[Path]
    lines: list[str]

    @property
    def headline(self) -> str:
        """The name, and why there is no figure where there is none."""
        return self.name + {"done": "", "skipped": " skipped: ", "failed": " FAILED: "}[self.status] + self.reason


def check_options(names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Check options that are meant for whichever of several analyses have them.

    Raises:
        UsageError: none of them has such an option, or one that has it does not take the value.
    """
    from virb import registry

    taken: set[str] = set()
    known: set[str] = set()
    for name in names if given else ():
        try:
            analysis = registry.load("analyses", name)
        except VirbError:
            continue  # a broken file is named where it would be run
        known |= {option.name for option in analysis.options}
        own = analysis.own_options(given)
        analysis.parse_options(own)
        taken |= set(own)
    for name in given:
        if name not in taken:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"No analysis of these has an option {name!r}.{hint}")


def run_by_name(
    name: str,
    scores: DataFrame | None,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    *,
    is_alone: bool = False,
) -> AnalysisRun:
    """Find an analysis, run it on a copy of ``scores`` if it applies, and say what came of it.

    With ``is_alone`` every option must be one of the analysis's; else it takes those that it has.

    Raises:
        VirbError: ``is_alone``, and the analysis is unknown, does not apply or fails. Without it, one analysis of many
            that fails must not take the others' figures with it, and nothing is raised.
    """
    from virb import registry

    outputs = Outputs(folder, name)
    status, reason = "done", ""
    try:
        analysis = registry.load("analyses", name)
        why_not = analysis.reason_not_to_run(scores)
        if why_not is not None:
            raise NotApplicable(f"The analysis {name!r} cannot run: {why_not}." if is_alone else f"{why_not}.")
        given = dict(options or {}) if is_alone else analysis.own_options(options or {})
        notes = Notes()
        try:
            tables = analysis.tables(scores, notes, **given)
        finally:
            outputs.lines += notes
        outputs.tables(tables)
        outputs.lines += analysis.say(tables)
        for part, figure in analysis.draw(tables).items():
            outputs.figure(figure, part)
    except VirbError as error:
        if is_alone:
            # What was left out on the way is often why the rest is too little.
            raise type(error)(" ".join([str(error), *outputs.lines])) from error
        status, reason = "skipped" if isinstance(error, (NotApplicable, ScoresError)) else "failed", str(error)
    except Exception as error:
        if is_alone:
            raise
        status, reason = "failed", f"{type(error).__name__}: {error}"
    return AnalysisRun(name, status, reason, outputs.files, outputs.lines)


def names_in_words(names: Sequence[object], limit: int = 6) -> str:
    """Join names for a message: ``a, b and 3 more``."""
    shown = [str(name) for name in names[:limit]]
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
