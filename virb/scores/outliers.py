"""Scores that cannot be right: repeats that learned nothing where the same fit works for others.

A fit that failed leaves a score at chance, often the same number in every repeat. One such cell moves correlations and ranks
more than any method does, and a mean over repeats hides it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from virb.contracts.analysis import names_in_words
from virb.scores.roles import FLOOR, roles

#: A score that has gained less than this share of what the task's median encoder gains over chance has learned nothing.
GAIN = 0.01
#: The median must gain so much itself (share of the way from chance to 1) for that to mean something.
_MEDIAN_GAIN = 0.05


def outliers(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of tidy scores that cannot be right, with why.

    - ``at chance``: the task declares its chance, the median of its encoders is well above it, and the score is not.
      Untrained encoders and baselines may be at chance.
    - ``one number``: three repeats or more of an encoder are the same to the last digit, below the task's median, although
      in most of the task's cells repeats differ, so often that rounding alone would hardly make one such cell in the whole
      table (at most .05 expected). Above the median many are the same where a task is at its ceiling.

    Returns:
        The rows concerned with their index, and the columns of ``frame`` followed by ``why``.
    """
    why = pd.Series("", index=frame.index, dtype=object)
    floor = frame["encoder"].map(roles(frame)).isin(FLOOR)
    by_cell = frame.groupby(["encoder", "task"])["score"]
    same = (by_cell.transform("nunique") == 1) & (by_cell.transform("size") >= 3)
    # Two repeats of a cell that are the same by rounding: counted where not all are.
    again = by_cell.shift()
    is_pair = again.notna() & ~same
    is_equal = is_pair & (again == frame["score"])
    at_all = (1 + is_equal.sum()) / (1 + is_pair.sum())
    n_cells = by_cell.ngroups
    for _, rows in frame.groupby("task", sort=False).groups.items():
        part = frame.loc[rows]
        means = part.groupby("encoder")["score"].mean()
        if "chance" in part and part["chance"].notna().all() and len(means) >= 3:
            chance = float(part["chance"].iloc[0])
            gain = float(means.median()) - chance
            if gain > _MEDIAN_GAIN * (1 - chance):
                why.loc[rows] = np.where((part["score"] <= chance + GAIN * gain) & ~floor.loc[rows], "at chance", "")
        firsts = same.loc[rows].groupby(part["encoder"]).first()
        if 0 < firsts.sum() < len(firsts) / 2:
            here = is_equal.loc[rows].sum() / max(int(is_pair.loc[rows].sum()), 1)
            is_no_rounding = n_cells * max(at_all, here) ** (by_cell.transform("size").loc[rows] - 1) <= 0.05
            lone = same.loc[rows] & is_no_rounding & ~floor.loc[rows] & (part["score"] < means.median())
            why.loc[rows] = np.where(
                lone, np.where(why.loc[rows] != "", why.loc[rows] + ", one number", "one number"), why.loc[rows]
            )
    found = frame[why != ""]
    return found.assign(why=why[why != ""])


def outliers_in_words(frame: pd.DataFrame, found: pd.DataFrame) -> str:
    """``70 of 5278 scores in 15 cells (A on t, ...)``; cells in which every repeat is concerned are counted too."""
    sizes = frame.groupby(["encoder", "task"]).size()
    concerned = found.groupby(["encoder", "task"], sort=False).size()
    whole = int((concerned == sizes.loc[concerned.index]).sum())
    cells = names_in_words([f"{encoder} on {task}" for encoder, task in concerned.index], 8)
    return f"{len(found)} of {len(frame)} scores in {len(concerned)} cells, {whole} of them wholly ({cells})"


def without_outliers(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores without those that :func:`outliers` names; what was left out is in ``attrs["notes"]``."""
    found = outliers(frame)
    said = (
        f"left out as scores that cannot be right: {outliers_in_words(frame, found)}"
        if len(found)
        else (
            "no score was found that cannot be right"
            + ("" if "chance" in frame else " (no column chance says what chance is)")
        )
    )
    kept = frame.drop(index=found.index)
    kept.attrs = {**frame.attrs, "notes": [*frame.attrs.get("notes", ()), said]}
    return kept
