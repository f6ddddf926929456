"""One scale for scores of several tasks: from chance to ceiling, the one unit that all declare, or sds of each task.

What is averaged over tasks, or compared with a region of practical equivalence, must be of one scale: scores on their
raw scales let the task in percent, or in degrees, decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from virb.contracts.analysis import NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes
from virb.scores.layout import Prepared
from virb.scores.units import units_by_task

SCALES = ("auto", "chance", "raw", "sd")
SCALE = Option(
    "scale",
    "auto",
    "Scale on which tasks are averaged: chance (0 at chance, 1 at the ceiling), raw (one declared unit), sd (of each task "
    "over encoders); auto takes the first of these that all tasks allow.",
    choices=SCALES,
)
_CEILING = {"fraction": 1.0, "percent": 100.0}


@dataclass(frozen=True)
class Scaled:
    """Scores on one scale: ``frame`` (tidy, every repeat) and ``wide`` (encoders x tasks), in what, and the size of a
    difference that is small on this scale."""

    frame: pd.DataFrame
    wide: pd.DataFrame
    words: str
    small: float


def on_scale(data: Prepared, notes: Notes, *, scale: str = "auto") -> Scaled:
    """Put scores on one scale; tasks that do not allow it are left out and named.

    Chance is the column ``chance``; the ceiling the column ``ceiling``, else 1 for fractions and 100 for percent. Without a
    declared unit the ceiling is taken as 1 where chance and scores lie within 0 and 1, which is said.

    Raises:
        NotApplicable: ``scale`` is chance or raw, and no task, or not all of one unit, allow it.
    """
    wide = data.wide
    tasks = list(wide.columns)
    units = units_by_task(data.frame).reindex([str(task) for task in tasks]).fillna("")
    chance, ceiling, guessed = _ends(data.frame, wide, units)
    known = [task for task in tasks if np.isfinite(chance[task]) and ceiling[task] > chance[task]]
    one_unit = units.nunique() == 1 and units.iloc[0] != ""
    if scale == "auto":
        scale = "chance" if len(known) == len(tasks) else "raw" if one_unit and units.iloc[0] in _CEILING else "sd"
    if scale == "chance":
        if not known:
            raise NotApplicable(
                "No task declares chance (column chance) and a ceiling (unit fraction or percent, or column ceiling)."
            )
        if len(known) < len(tasks):
            left = [str(task) for task in tasks if task not in known]
            notes.say(f"left out, chance or ceiling not being declared: {names_in_words(left)}")
        if any(task in guessed for task in known):
            notes.say("no unit is declared (--unit): the ceiling is taken to be 1")
        shift, size = chance[known], ceiling[known] - chance[known]
        return _scaled(data, shift, size, "from chance (0) to ceiling (1)", 0.01)
    if scale == "raw":
        if not one_unit:
            said = names_in_words(list(dict.fromkeys(unit or "not declared" for unit in units)))
            raise NotApplicable(f"Raw scores need one declared unit (--unit); the tasks' units are {said}.")
        unit = str(units.iloc[0])
        shift, size = pd.Series(0.0, index=tasks), pd.Series(1.0, index=tasks)
        small = 0.01 * _CEILING[unit] if unit in _CEILING else 0.1 * float(wide.std(ddof=1).mean())
        return _scaled(data, shift, size, f"in {unit}", small)
    spread = wide.std(ddof=1)
    flat = ~(spread > 1e-12 * wide.abs().max())
    if flat.any():
        notes.say(
            f"left out, all encoders scoring the same there: {names_in_words([str(task) for task in spread.index[flat]])}"
        )
    if flat.all():
        raise NotApplicable("On every task all encoders score the same.")
    return _scaled(data, wide.mean()[~flat], spread[~flat], "in sd of each task over encoders", 0.1)


def _scaled(data: Prepared, shift: pd.Series, size: pd.Series, words: str, small: float) -> Scaled:
    frame = data.frame[data.frame["task"].isin(shift.index)].copy()
    frame["score"] = (frame["score"] - frame["task"].map(shift)) / frame["task"].map(size)
    return Scaled(frame, (data.wide[shift.index] - shift) / size, words, small)


def _ends(frame: pd.DataFrame, wide: pd.DataFrame, units: pd.Series) -> tuple[pd.Series, pd.Series, set[str]]:
    """Chance and ceiling of every task (NaN where not declared), and the tasks whose ceiling is guessed."""
    nothing = pd.Series(np.nan, index=wide.columns)

    def declared(column: str) -> pd.Series:
        if column not in frame or not pd.api.types.is_numeric_dtype(frame[column]):
            return nothing
        return frame.groupby("task")[column].first().reindex(wide.columns).astype(float)

    chance, ceiling = declared("chance"), declared("ceiling")
    by_unit = pd.Series([_CEILING.get(units[str(task)], np.nan) for task in wide.columns], index=wide.columns)
    within = (wide.max() <= 1) & (wide.min() >= 0) & chance.between(0, 1, inclusive="left")
    silent = pd.Series([units[str(task)] == "" for task in wide.columns], index=wide.columns)
    guess = ceiling.isna() & silent & within
    ceiling = ceiling.fillna(by_unit).where(~guess, 1.0)
    return chance, ceiling, {str(task) for task in wide.columns[guess]}
