"""HTML that is escaped unless it says that it is HTML already, and the frame that every page shares."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from virb.report.style import CSS, SORTING
from virb.system.files import DEVICE_NAMES

VOID = frozenset({"img", "br", "meta"})


class Markup(str):
    """Text that is HTML already; every other string is escaped when it is put into a tag."""


def escaped(content: object) -> Markup:
    """``content`` as HTML: markup as it is, anything else as text."""
    return content if isinstance(content, Markup) else Markup(html.escape(str(content), quote=True))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. Children that are not markup are text; ``class_`` is class, ``data_x`` data-x; None leaves it out.

    >>> tag("a", "<b>", href="x.html?a&b")
    '<a href="x.html?a&amp;b">&lt;b&gt;</a>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(children)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after the other, each escaped unless it is markup."""
    return Markup(escaped(between).join(escaped(part) for part in parts))


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it shows, the value it is sorted by (numbers are set to the right), and a class."""

    content: object
    value: float | None = None
    kind: str = ""


@dataclass(frozen=True)
class Section:
    """Rows of a table under a heading; the first entry of each row is its header."""

    rows: Sequence[Sequence[object]]
    heading: str = ""


def table(caption: str, columns: Sequence[object], sections: Sequence[Section], *, is_vertical: bool = False) -> Markup:
    """A table with scoped headers, in a box that scrolls by itself on a narrow screen.

    Args:
        caption: what the table shows; it is also the name that screen readers give the scrolling box.
        columns: headers, one for each entry of a row.
        is_vertical: write the headers of all columns but the first upright, where there are many.
    """
    head = tag("tr", *[tag("th", column, scope="col") for column in columns])
    bodies = []
    for section in sections:
        rows = [_row(row) for row in section.rows]
        if section.heading:
            label = tag("th", section.heading, scope="rowgroup", colspan=len(columns))
            rows.insert(0, tag("tr", label, class_="group"))
        bodies.append(tag("tbody", *rows))
    made = tag(
        "table", tag("caption", caption), tag("thead", head), *bodies,
        class_="sortable vertical" if is_vertical else "sortable",
    )  # fmt: skip
    return tag("div", made, class_="scroll", role="region", aria_label=caption, tabindex="0")


def _row(row: Sequence[object]) -> Markup:
    first, *rest = row
    cells = [tag("th", first.content if isinstance(first, Cell) else first, scope="row")]
    for cell in rest:
        if not isinstance(cell, Cell):
            cell = Cell(cell)
        kind = f"{cell.kind} number".strip() if cell.value is not None else cell.kind or None
        value = None if cell.value is None else f"{cell.value:.10g}"
        cells.append(tag("td", cell.content, class_=kind, data_value=value))
    return tag("tr", *cells)


def facts(pairs: Iterable[tuple[str, object]]) -> Markup:
    """A list of names and values; pairs whose value is None or empty are left out."""
    return tag("dl", *[joined([tag("dt", name), tag("dd", value)]) for name, value in pairs if value not in (None, "")])


def bullets(items: Iterable[object], **attributes: object) -> Markup:
    """An unordered list; nothing where there are no items."""
    made = [tag("li", item) for item in items]
    return tag("ul", *made, **attributes) if made else Markup("")


def page(title: str, *body: object, home: str | None = None) -> str:
    """A whole page. ``home`` is the link back to the report's first page, for the pages below it."""
    back = tag("nav", tag("a", "← the report", href=home), aria_label="Back") if home else Markup("")
    head = joined(
        [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="generator", content="virb report"),
            tag("title", title),
            Markup(f"<style>{CSS}</style>"),
        ],
        "\n",
    )
    content = tag("body", back, tag("main", *body), Markup(f"<script>{SORTING}</script>"))
    return f"<!doctype html>\n{tag('html', tag('head', head), content, lang='en')}\n"


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
