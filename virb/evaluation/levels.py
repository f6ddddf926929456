"""Accuracy at every level of a label tree, from the predictions that the score is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from virb.contracts.tree import LabelTree


def accuracies(predictions: Mapping[str, np.ndarray], tree: LabelTree | None) -> dict[str, float | None]:
    """Return ``accuracy@LEVEL``, ``kappa@LEVEL`` and ``classes@LEVEL`` for every level, the classes themselves included.

    Args:
        predictions: a metric's arrays of one row an example: target (N,), and prediction (N,) or scores (N, K).

    Returns:
        Numbers for a record's metrics; kappa (Cohen's, 0 for guessing) is None where chance alone is always right.
        Nothing without a tree.
    """
    if tree is None:
        return {}
    from virb.stats.granularity import level_accuracy  # takes scipy.stats and pandas, half a second to import

    found = predictions["prediction"] if "prediction" in predictions else predictions["scores"].argmax(axis=1)
    target = np.asarray(predictions["target"])
    if target.ndim == 2:  # average precision keeps classes as a one a row
        target = target.argmax(axis=1)
    table = level_accuracy(target, np.asarray(found), tree.coarse([str(k) for k in range(tree.n_classes)]))
    out: dict[str, float | None] = {}
    for row in table.to_dict("records"):
        level, kappa = row["level"], float(row["kappa"])
        out[f"accuracy@{level}"] = float(row["accuracy"])
        out[f"kappa@{level}"] = kappa if math.isfinite(kappa) else None
        out[f"classes@{level}"] = int(row["n_classes"])
    return out
