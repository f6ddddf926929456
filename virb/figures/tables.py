"""Tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any


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
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        print("(nothing)")
        return
    columns = [key for key in rows[0] if key != sections]
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for key in columns:
        is_number = all(isinstance(row[key], (int, float)) for row in rows) or _looks_numeric(
            [row[key] for row in rows]
        )
        table.add_column(key.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    heading = None
    for index, row in enumerate(rows):
        if sections is not None and row[sections] != heading:
            if index:
                table.add_section()
            heading = row[sections]
            table.add_row(f"[bold]{heading}[/bold]", *[""] * (len(columns) - 1))
        table.add_row(*[_text(row[key]) for key in columns])
    width = None if sys.stdout.isatty() else 400
    Console(width=width, highlight=False, soft_wrap=False).print(table)


def _text(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    return escape(f"{value:.3f}" if isinstance(value, float) else str(value))


def _looks_numeric(values: Sequence[Any]) -> bool:
    texts = [str(value).strip() for value in values if value not in (None, "")]
    return bool(texts) and all(text[:1].isdigit() or text[:1] in "-–." for text in texts)
