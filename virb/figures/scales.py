"""Which values can share an axis: those of one unit, and where none is declared those of about one size."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

APART = 8.0  # times as large: what is drawn on one axis with it is not seen


def one_axis_each(table: pd.DataFrame, columns: Iterable[str]) -> list[tuple[str, pd.DataFrame]]:
    """Split rows (tasks) into groups that can share an axis, with the unit of each ("" where none is declared).

    Rows of one declared unit stay together. Without a unit a row stands apart whose largest of ``columns`` is more than
    eight times as large as any of the others': degrees beside fractions, percent beside fractions.

    >>> table = pd.DataFrame({"task": ["a", "b", "c"], "score": [0.9, -31.0, 0.2]})
    >>> [list(part["task"]) for _, part in one_axis_each(table, ["score"])]
    [['a', 'c'], ['b']]
    """
    units = table["unit"].fillna("") if "unit" in table else pd.Series("", index=table.index)
    size = table[list(columns)].abs().max(axis=1).fillna(0.0)
    out: list[tuple[str, pd.DataFrame]] = []
    for unit in dict.fromkeys(units):
        part = table[units == unit]
        if unit:
            out.append((str(unit), part))
            continue
        sizes = size[part.index].sort_values(kind="stable")
        step = (sizes > APART * sizes.shift().where(sizes.shift() > 0.1)).cumsum()
        level = step.reindex(part.index)
        out += [("", part[level == one]) for one in dict.fromkeys(level)]
    return out
