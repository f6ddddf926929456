"""One way to write a table: for a terminal or a pipe, as Markdown, as LaTeX, as CSV or as JSON.

A number is never broken over two lines and a name never cut: where a table is wider than the terminal, its columns are
set below each other in panels, each with the first column; only texts of several words are wrapped, between words.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMATS = ("table", "md", "tex", "csv", "json")
GAP = 2  # spaces between columns


@dataclass(frozen=True)
class Table:
    """Cells as they are shown, and how they belong together.

    ``numbers`` are the columns set to the right; ``groups`` the heading above each column, "" for none; ``sections`` the
    heading of each row; ``best`` the cells (row, column) in bold. ``n_keys`` columns stand in every panel.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    groups: Sequence[str] = ()
    sections: Sequence[str] = ()
    best: frozenset[tuple[int, int]] = frozenset()
    title: str = ""
    caption: str = ""
    n_keys: int = 1


def table_of(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    sections: str | None = None,
    caption: str | None = None,
) -> Table:
    """Lay ``rows`` (all with the same keys) out; ``sections`` names the column whose values become headings."""
    keys = [key for key in rows[0] if key != sections] if rows else []
    cells = [[shown(row[key]) for key in keys] for row in rows]
    numbers = frozenset(k for k, key in enumerate(keys) if _is_numeric([row[key] for row in rows]))
    heads = [shown(row[sections]) for row in rows] if sections is not None else []
    return Table([_head(key) for key in keys], cells, numbers, sections=heads, title=title or "", caption=caption or "")


def print_table(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str | None = None,
    sections: str | None = None,
    caption: str | None = None,
) -> None:
    """Print ``rows`` (all with the same keys) as a table; numbers are right-aligned.

    ``sections`` names a column whose change starts a new section; the column itself is not shown, its value becomes
    the section's heading. On a terminal the table fits its width; elsewhere it is as wide as it needs to be.
    """
    print(render(table_of(rows, title=title, sections=sections, caption=caption)) if rows else "(nothing)")


def render(table: Table, form: str = "table", *, width: int | None = None, is_bold: bool | None = None) -> str:
    """Return the table as text in one of ``FORMATS``; CSV and JSON hold the cells as they are shown."""
    if form == "md":
        return _markdown(table)
    if form == "tex":
        return _latex(table)
    if form in ("csv", "json"):
        return records([dict(zip(_plain_columns(table), row, strict=True)) for row in _plain_rows(table)], form)
    width = terminal_width() if width is None else width
    is_bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ if is_bold is None else is_bold
    return "\n".join(_lines(table, width, is_bold))


def records(rows: Sequence[Mapping[str, Any]], form: str) -> str:
    """Return rows as CSV or as a JSON array, numbers at full precision; what is missing is empty, or null."""
    if form == "json":
        return json.dumps([{key: _json(value) for key, value in row.items()} for row in rows], indent=2)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if rows:
        writer.writerow(list(rows[0]))
        writer.writerows([["" if _json(value) is None else value for value in row.values()] for row in rows])
    return buffer.getvalue().rstrip("\n")


def terminal_width() -> int:
    """Columns of the terminal; in a pipe as many as a table needs, unless $COLUMNS says how many."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return 1 << 20
    return shutil.get_terminal_size((80, 24)).columns


def shown(value: Any) -> str:
    """A value as a cell: three decimals for what is no whole number, nothing for what is missing."""
    if _json(value) is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------------------------------------------------- plain text


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _lines(table: Table, width: int, is_bold: bool) -> Iterator[str]:
    if table.title:
        yield table.title
    for panel in _panels(table, width):
        yield from _panel(table, panel, width, is_bold)
    if table.caption:
        yield from textwrap.wrap(table.caption, min(width, 120), break_long_words=False, break_on_hyphens=False)


def _least(table: Table, column: int) -> int:
    """The width below which a cell would be broken: of a number all of it, of a text its longest word."""
    texts = [row[column] for row in table.rows]
    head = max(map(cells, table.columns[column].split()), default=0)
    if column in table.numbers:
        return max([head, *map(cells, texts)])
    return max([head, *(cells(word) for text in texts for word in text.split())])


def _full(table: Table, column: int) -> int:
    return max([cells(table.columns[column]), *(cells(row[column]) for row in table.rows)])


def _panels(table: Table, width: int) -> list[list[int]]:
    """Columns that stand beside each other: all where they fit, else group by group, else as many as fit."""
    n = len(table.columns)
    keys = list(range(min(table.n_keys, n)))
    least = [_least(table, k) for k in range(n)]

    def total(columns: Sequence[int]) -> int:
        return sum(least[k] for k in columns) + GAP * max(len(columns) - 1, 0)

    if total(range(n)) <= width or n <= len(keys):
        return [list(range(n))]
    groups = list(table.groups) or [""] * n
    out: list[list[int]] = []
    now = list(keys)
    for k in range(len(keys), n):
        is_new_group = groups[now[-1]] not in ("", groups[k])  # what has no group stands with what follows
        if len(now) > len(keys) and (is_new_group or total([*now, k]) > width):
            out.append(now)
            now = list(keys)
        now.append(k)
    return [*out, now]


def _widths(table: Table, columns: Sequence[int], width: int) -> list[int]:
    """Every column as wide as it must be; what is left goes to texts that would have to wrap, line by line."""
    out = [_least(table, k) for k in columns]
    full = [_full(table, k) for k in columns]
    spare = width - sum(out) - GAP * (len(out) - 1)
    while spare > 0:
        short = [k for k in range(len(out)) if out[k] < full[k]]
        if not short:
            break
        each = max(spare // len(short), 1)
        for k in short[: max(spare, 0)]:
            more = min(each, full[k] - out[k], spare)
            out[k] += more
            spare -= more
    return out


def _panel(table: Table, columns: Sequence[int], width: int, is_bold: bool) -> Iterator[str]:
    widths = _widths(table, columns, width)
    total = sum(widths) + GAP * (len(widths) - 1)
    yield ""
    if any(table.groups[k] for k in columns if table.groups):
        yield _bold(_group_line(table, columns, widths).rstrip(), is_bold)
    heads = [table.columns[k] for k in columns]
    yield from (line.rstrip() for line in _row(table, columns, widths, heads, [is_bold] * len(columns)))
    yield "─" * min(total, max(width, 1))
    heading = None
    for r, row in enumerate(table.rows):
        if table.sections and table.sections[r] != heading:
            if heading is not None:
                yield ""
            heading = table.sections[r]
            yield _bold(heading, is_bold)
        marks = [is_bold and (r, k) in table.best for k in columns]
        yield from (line.rstrip() for line in _row(table, columns, widths, [row[k] for k in columns], marks))
    yield ""


def _group_line(table: Table, columns: Sequence[int], widths: Sequence[int]) -> str:
    """Each group's name above its first column; a name that is longer than its columns pushes the next on."""
    line, at = "", 0
    for place, k in enumerate(columns):
        name = table.groups[k]
        if name and (place == 0 or table.groups[columns[place - 1]] != name):
            line = line.ljust(at) if cells(line) <= at else f"{line}{' ' * GAP}"
            line += name
        at += widths[place] + GAP
    return line


def _row(
    table: Table, columns: Sequence[int], widths: Sequence[int], texts: Sequence[str], marks: Sequence[bool]
) -> Iterator[str]:
    wrapped = [_wrap(text, size) for text, size in zip(texts, widths, strict=True)]
    for line in range(max(map(len, wrapped), default=0)):
        parts = []
        for k, size, found, mark in zip(columns, widths, wrapped, marks, strict=True):
            text = found[line] if line < len(found) else ""
            space = " " * (size - cells(text))
            text = _bold(text, mark)
            parts.append(space + text if k in table.numbers else text + space)
        yield (" " * GAP).join(parts)


def _wrap(text: str, width: int) -> list[str]:
    if cells(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        if lines[-1] and cells(lines[-1]) + 1 + cells(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _bold(text: str, is_bold: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if is_bold and text else text


# ------------------------------------------------------------------------------------------------------- for other programs


def _plain_columns(table: Table) -> list[str]:
    return ["section", *table.columns] if table.sections else list(table.columns)


def _plain_rows(table: Table) -> list[list[str]]:
    return [[table.sections[r], *row] if table.sections else list(row) for r, row in enumerate(table.rows)]


def _markdown(table: Table) -> str:
    shift = 1 if table.sections else 0
    escape = {"|": "\\|", "*": "\\*", "_": "\\_", "`": "\\`", "<": "&lt;", "\n": " "}
    lines = []
    for r, row in enumerate([_plain_columns(table), ["---"] * len(_plain_columns(table)), *_plain_rows(table)]):
        texts = []
        for k, text in enumerate(row):
            if r == 1:
                text = "---:" if k - shift in table.numbers else "---"
            else:
                text = "".join(escape.get(letter, letter) for letter in text)
                text = f"**{text}**" if (r - 2, k - shift) in table.best and text else text
            texts.append(text)
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join([*lines, *(["", table.caption] if table.caption else [])])


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
        "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "−": r"$-$", "…": r"\dots{}", "ρ": r"$\rho$", "χ": r"$\chi$",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", **{letter: f"\\{letter}" for letter in "&%$#_{}"}}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def _latex(table: Table) -> str:
    """A tabular for booktabs; a minus before a number is a minus."""
    kinds = "".join("r" if k in table.numbers else "l" for k in range(len(table.columns)))
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    if any(table.groups):
        lines += _tex_groups(table)
    lines += [" & ".join(_tex(name) for name in table.columns) + r" \\", r"\midrule"]
    heading = None
    for r, row in enumerate(table.rows):
        if table.sections and table.sections[r] != heading:
            if heading is not None:
                lines.append(r"\midrule")
            heading = table.sections[r]
            lines.append(rf"\multicolumn{{{len(row)}}}{{l}}{{\textit{{{_tex(heading)}}}}} \\")
        texts = []
        for k, text in enumerate(row):
            made = _tex(text)
            if k in table.numbers:
                made = re.sub(r"(^|\s)-(?=[\d.])", r"\1$-$", made)
            texts.append(rf"\textbf{{{made}}}" if (r, k) in table.best else made)
        lines.append(" & ".join(texts) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *([f"% {table.caption}"] if table.caption else [])])


def _tex_groups(table: Table) -> list[str]:
    spans: list[list[Any]] = []
    for k, name in enumerate(table.groups):
        if spans and spans[-1][0] == name:
            spans[-1][2] = k
        else:
            spans.append([name, k, k])
    cells_ = [rf"\multicolumn{{{last - first + 1}}}{{l}}{{{_tex(name)}}}" for name, first, last in spans]
    rules = [rf"\cmidrule(lr){{{first + 1}-{last + 1}}}" for name, first, last in spans if name]
    return [" & ".join(cells_) + r" \\", " ".join(rules)]


# ------------------------------------------------------------------------------------------------------------------ values


def _head(key: str) -> str:
    return key.strip().replace("_", " ") if key.islower() and " " not in key.strip() else key.strip()


def _json(value: Any) -> Any:
    """A value as JSON has it: null for what is missing."""
    if hasattr(value, "item"):
        value = value.item()
    return None if value is None or (isinstance(value, float) and value != value) else value


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value not in (None, "")]
    if known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return True
    texts = [str(value).strip() for value in known]
    return bool(texts) and all(text[:1].isdigit() or text[:1] in "-–." for text in texts)
