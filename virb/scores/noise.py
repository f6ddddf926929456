"""What repeats of the probe and single predictions say of the noise in a difference between encoders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from virb.contracts.tables import Notes
from virb.errors import ScoresError
from virb.records.predictions import compare, read_predictions
from virb.scores.layout import Prepared
from virb.scores.scale import Scaled
from virb.stats.decision import repeats_of_two


def repeats_between(
    frame: pd.DataFrame, task: str, sides: Sequence[Sequence[str]]
) -> tuple[np.ndarray | None, float, float]:
    """Differences repeat by repeat where both have the same seeds, the variance of their mean, and its df."""
    part = frame[frame["task"] == task]
    if "seed" not in part:
        return None, float("nan"), float("nan")
    wide = part.pivot_table(index="seed", columns="encoder", values="score")
    one, other = (wide[list(side)].mean(axis=1, skipna=False).dropna() for side in sides)
    are_paired = one.index.equals(other.index)
    variance, df = repeats_of_two(one.to_numpy(float), other.to_numpy(float), are_paired=are_paired)
    return (one - other).to_numpy(float) if are_paired and len(one) > 1 else None, variance, df


def image_variances(
    data: Prepared, scaled: Scaled, sides: Sequence[Sequence[str]], results: str | None, notes: Notes
) -> dict[str, float]:
    """What other test images add to the variance of the difference of two encoders on each task: of their paired predictions."""
    found: dict[str, float] = {}
    if not results or max(map(len, sides)) > 1:
        return found
    a, b = sides[0][0], sides[1][0]
    for task in scaled.wide.columns:
        part = data.frame[data.frame["task"] == task]
        try:
            read = read_predictions(results, part, str(task))
            sd = compare(read[a], read[b], str(part["metric"].iloc[0]), samples=2000).null_sd
        except (ScoresError, KeyError) as error:
            notes.say(f"{task}: test images are not counted: {error}")
            continue
        raw = float(np.ptp(data.wide[task]))
        found[str(task)] = (sd * (float(np.ptp(scaled.wide[task])) / raw if raw else 0.0)) ** 2
    return found


def repeats_by_task(scaled: Scaled) -> list[np.ndarray]:
    """(k, K) scores of every task, repeats that all encoders have."""
    if "seed" not in scaled.frame:
        return [scaled.wide[[task]].to_numpy(float) for task in scaled.wide]
    cells = scaled.frame.pivot_table(index="encoder", columns=["task", "seed"], values="score")
    of = cells.columns.get_level_values("task")
    return [cells.loc[:, of == task].dropna(axis=1).to_numpy(float) for task in scaled.wide]
