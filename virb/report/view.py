"""What templates are given: cells, tables and facts, as plain data. No HTML is made in Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from virb.system.files import DEVICE_NAMES


@dataclass(frozen=True)
class Bar:
    """An interval drawn below a number: its ends, its point and further ticks, each in percent of the cell's width."""

    low: float
    high: float
    at: float
    ticks: tuple[float, ...] = ()

    @classmethod
    def on(
        cls, low: float, high: float, at: float, *, scale: tuple[float, float], ticks: Iterable[float] = ()
    ) -> Bar | None:
        """The bar of an interval on a scale from ``scale[0]`` to ``scale[1]``; None where the scale is a point."""
        first, last = scale
        if not last > first:
            return None

        def place(value: float) -> float:
            return round(min(max((value - first) / (last - first), 0.0), 1.0) * 100, 1)

        return cls(place(low), place(high), place(at), tuple(place(tick) for tick in ticks))


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    ``value`` is what it is sorted by (numbers are set to the right), ``spread`` the ± behind it, ``shade`` 0 to 8 for its
    place inside the task, ``mark`` a sign before it with what the sign means. ``key`` is that of its column for a filter,
    ``kind`` what its column is where that is set apart ("place").
    """

    text: str
    value: float | None = None
    href: str = ""
    spread: str = ""
    bar: Bar | None = None
    shade: int | None = None
    is_best: bool = False
    mark: str = ""
    mark_means: str = ""
    title: str = ""
    is_code: bool = False
    key: str = ""
    kind: str = ""

    # A page has thousands of cells: what can be said of one in Python costs a tenth of what it costs in a template.

    @property
    def classes(self) -> str:
        """What the style sheet and the sorting call it: "n" for a number, "best", its shade, its kind."""
        words = (
            "n" if self.value is not None else "",
            "best" if self.is_best else "",
            "" if self.shade is None else f"s{self.shade}",
            self.kind,
        )
        return " ".join(filter(None, words))

    @property
    def sorted_by(self) -> str:
        """Its value as the pages' sorting reads it."""
        return "" if self.value is None else f"{self.value:.10g}"


@dataclass(frozen=True)
class Section:
    """Rows of a table under a heading; the first cell of each row is its header."""

    rows: Sequence[Sequence[Cell]]
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """A table with one header row; ``caption`` is also the name that screen readers give its scrolling box."""

    caption: str
    columns: Sequence[Cell]
    sections: Sequence[Section]
    is_vertical: bool = False


@dataclass(frozen=True)
class Fact:
    """A name and what is said under it: one text, or several in a list."""

    name: str
    text: str = ""
    items: Sequence[str] = field(default=())
    is_code: bool = False


def facts(pairs: Iterable[tuple[str, object]]) -> list[Fact]:
    """Facts of what is said; a value that is None or empty is left out."""
    return [Fact(name, str(value)) for name, value in pairs if value not in (None, "")]


def heads(*names: str) -> list[Cell]:
    return [Cell(name) for name in names]


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A file name's stem for each name: letters that every file system and link takes, no two alike in any case."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "unnamed"
        if DEVICE_NAMES.fullmatch(base):
            base = f"name-{base}"
        stem, k = base, 1
        while stem.lower() in taken:
            k += 1
            stem = f"{base}-{k}"
        taken.add(stem.lower())
        out[name] = stem
    return out
