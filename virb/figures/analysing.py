"""Run an analysis: its tables, figures and sentences into a folder, and what came of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb import registry
from virb.contracts.analysis import NotApplicable
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError, VirbError
from virb.figures.look import now
from virb.system.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass
class Outputs:
    """Where one analysis writes. Files are ``<folder>/<name>.<ending>`` or ``<folder>/<name>-<part>.<ending>``."""

    folder: Path
    name: str
    files: list[Path] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def _path(self, part: str, ending: str) -> Path:
        stem = f"{self.name}-{part}" if part else self.name
        return Path(self.folder) / f"{stem}.{ending}"

    def figure(self, figure: Figure, part: str = "") -> None:
        """Write ``figure`` in the kinds of file asked for (PNG and SVG else), with its caption where it has no words of its
        own, and close it."""
        from virb.figures import fonts, plots  # matplotlib is not loaded for what draws nothing

        spelled = plots.settle(figure)
        if spelled and (line := fonts.spelled_note(spelled)) not in self.lines:
            self.lines.append(line)
        for ending in now().formats:
            path = self._path(part, ending)
            with atomic_write(path, is_durable=False) as file:
                plots.save(figure, file, ending)
            self.files.append(path)
            figure.set_layout_engine(None)  # what is laid out once need not be again
        if words := plots.caption(figure):
            path = self._path(f"{part}-caption" if part else "caption", "txt")
            with atomic_write(path, is_durable=False) as file:
                file.write(f"{words}\n".encode())
            self.files.append(path)
        plots.close(figure)

    def tables(self, tables: Tables, typeset: Callable[[Tables], Any] | None = None) -> None:
        """Write ``tables`` as CSV, and set them in the form asked for: Markdown and LaTeX go to files as well."""
        self.files += tables.write(self.folder, self.name)
        form = now().table
        if not form:
            return
        from virb.figures.tables import render, table_of

        for part, frame in tables.items():
            if frame.empty:
                continue
            rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
            text = render(typeset(tables) if typeset is not None and part == "" else table_of(rows), form)
            self.texts.append(text)
            if form in ("md", "tex"):
                path = self._path(part, form)
                with atomic_write(path, is_durable=False) as file:
                    file.write(f"{text}\n".encode())
                self.files.append(path)


@dataclass
class AnalysisRun:
    """What came of one analysis: "done", "skipped" (it does not apply; ``reason`` says why) or "failed".

    ``texts`` are its tables in the form asked for, ``summary`` and ``source`` what it declares of itself.
    """

    name: str
    status: str
    reason: str
    files: list[Path]
    lines: list[str]
    texts: list[str] = field(default_factory=list)
    summary: str = ""
    source: str = ""

    @property
    def headline(self) -> str:
        """The name, and why there is no figure where there is none."""
        return self.name + {"done": "", "skipped": " skipped: ", "failed": " FAILED: "}[self.status] + self.reason


def check_options(names: Sequence[str], given: Mapping[str, Any]) -> None:
    """Check options that are meant for whichever of several analyses have them.

    Raises:
        UsageError: none of them has such an option, or one that has it does not take the value.
    """
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
    outputs = Outputs(folder, name)
    status, reason, declared = "done", "", ("", "")
    try:
        analysis = registry.load("analyses", name)
        declared = str(analysis.summary), str(analysis.source)
        why_not = analysis.reason_not_to_run(scores)
        if why_not is not None:
            raise NotApplicable(f"The analysis {name!r} cannot run: {why_not}." if is_alone else f"{why_not}.")
        given = dict(options or {}) if is_alone else analysis.own_options(options or {})
        notes = Notes()
        try:
            tables = analysis.tables(scores, notes, **given)
        finally:
            outputs.lines += notes
        outputs.tables(tables, analysis.typeset)
        outputs.lines += analysis.say(tables)
        for part, figure in analysis.draw(tables).items():
            outputs.figure(figure, part)
    except VirbError as error:
        if is_alone:
            # What was left out on the way is often why the rest is too little.
            said = [str(error), *outputs.lines]
            raise type(error)(" ".join(line if line.endswith(".") else f"{line}." for line in said)) from error
        status, reason = "skipped" if isinstance(error, (NotApplicable, ScoresError)) else "failed", str(error)
    except Exception as error:
        if is_alone:
            raise
        status, reason = "failed", f"{type(error).__name__}: {error}"
    return AnalysisRun(name, status, reason, outputs.files, outputs.lines, outputs.texts, *declared)
