"""The analyses of a report: run, shown with what they say, and listed with the reason where they were not drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from virb.figures.analysing import AnalysisRun
from virb.report.view import Cell, Section, Table, heads

FOLDER = "analyses"
PIXELS_PER_POINT = 1.8  # type of 6 points is then as large as small print on a screen


@dataclass(frozen=True)
class Figure:
    """A figure's file, what stands for it where it cannot be seen, and the pixels to show it at (0: as it says)."""

    svg: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """A drawn analysis as the page has it: its words, its figures, and links to its files."""

    name: str
    summary: str
    source: str
    lines: list[str]
    figures: list[Figure]
    tables: list[Cell]
    pngs: list[Cell]


def collect(runs: Iterable[AnalysisRun], tell: Callable[[str], None]) -> list[AnalysisRun]:
    """Tell of each analysis; one that does not apply or fails is in the list with its reason, without files."""
    out = []
    for run in runs:
        if run.status != "done":  # what it wrote before it stopped is not shown, so it is not kept either
            for path in run.files:
                path.unlink(missing_ok=True)
            run = replace(run, files=[])
        out.append(run)
        tell(run.headline)
    return out


def shown(drawn: Sequence[AnalysisRun]) -> list[Shown]:
    """Those that were drawn."""
    return [_shown(one) for one in drawn if one.status == "done"]


def not_drawn(drawn: Sequence[AnalysisRun]) -> Table | None:
    """The others with their reasons; None where there are none."""
    rest = [one for one in drawn if one.status != "done"]
    if not rest:
        return None
    rows = [
        [
            Cell(one.name, is_code=True),
            Cell(one.summary),
            Cell(("failed: " if one.status == "failed" else "") + one.reason[:1].upper() + one.reason[1:]),
        ]
        for one in rest
    ]
    columns = heads("analysis", "what it shows", "why not")
    return Table("Analyses that these scores do not allow", columns, [Section(rows)])


def _shown(one: AnalysisRun) -> Shown:
    files, name = one.files, one.name
    figures = []
    for path in files:
        if path.suffix == ".svg":
            part = path.stem.removeprefix(name).strip("-")
            alt = f"Figure: {one.summary or name}{f' ({part})' if part else ''}. Its numbers are in the CSV files linked below."
            size = _pixels(path)
            figures.append(Figure(_link(path), alt, size.get("width", 0), size.get("height", 0)))
    links = {
        end: [Cell(path.name, href=_link(path)) for path in files if path.suffix == end] for end in (".csv", ".png")
    }
    return Shown(name, one.summary, one.source, one.lines, figures, links[".csv"], links[".png"])


def _pixels(path: Path) -> dict[str, int]:
    """Width and height to show a figure at, from the points at the head of its file; none where it does not say."""
    head = path.read_text(encoding="utf-8")[:4000]
    found = {side: re.search(rf'<svg[^>]*\s{side}="([\d.]+)pt"', head) for side in ("width", "height")}
    return {side: round(float(match[1]) * PIXELS_PER_POINT) for side, match in found.items() if match}


def _link(path: Path) -> str:
    return f"{FOLDER}/{quote(path.name)}"
