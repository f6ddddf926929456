"""Mean average precision over classes, of one class an example or of several labels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from virb.contracts.metric import Metric, State
from virb.contracts.parts import Option
from virb.errors import DataError, UsageError
from virb.metrics.arrays import as_array, as_classes, check_finite


class AveragePrecision(State):
    """Mean over classes of the average precision: over all points, and at eleven recalls (Pascal VOC 2007).

    ``prediction`` is scores (N, K); ``target`` is classes (N,), or (N, K) with 1 for present, 0 for absent and -1 for
    examples that do not count for that class (VOC's "difficult"). Examples of equal score enter together, so ties have
    no order. Classes without a positive example are left out of the mean.
    """

    def __init__(self, n_classes: int, *, name: str = "map", points: str = "all") -> None:
        if points not in ("all", "11"):
            raise UsageError(f"Unknown points={points!r} for mean average precision; expected 'all' or '11'.")
        self.name = name if points == "all" else f"{name}_11"
        self.n_classes = n_classes
        self._scores: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def update(self, prediction: Any, target: Any) -> None:
        scores = as_array(prediction).astype(np.float64)
        wanted = as_array(target)
        if scores.ndim != 2 or scores.shape[1] != self.n_classes or len(wanted) != len(scores):
            raise UsageError(
                f"Scores of shape {scores.shape} for {len(wanted)} targets; expected (N, {self.n_classes})."
            )
        check_finite(scores)
        if wanted.ndim == 1:
            wanted = np.eye(self.n_classes, dtype=np.int8)[as_classes(wanted, self.n_classes, "target")]
        if wanted.shape != scores.shape or not np.isin(wanted, (-1, 0, 1)).all():
            raise DataError("Multi-label targets must be -1, 0 or 1, of the shape of the scores.")
        self._scores.append(scores)
        self._targets.append(wanted.astype(np.int8))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        curves = [curve for curve in self._curves() if curve is not None]
        if not curves:
            raise DataError("No class has a positive example; average precision is not defined.")
        return {
            "map": math.fsum(_ap_all(*curve) for curve in curves) / len(curves),
            "map_11": math.fsum(_ap_eleven(*curve) for curve in curves) / len(curves),
        }

    def per_class(self) -> list[float]:
        average = _ap_eleven if self.name.endswith("_11") else _ap_all
        return [math.nan if curve is None else average(*curve) for curve in self._curves()]

    def _curves(self) -> Iterable[tuple[np.ndarray, np.ndarray] | None]:
        scores, targets = np.concatenate(self._scores), np.concatenate(self._targets)
        for k in range(self.n_classes):
            counted = targets[:, k] >= 0
            yield _precision_counts(scores[counted, k], targets[counted, k] == 1)

    def per_example(self) -> dict[str, np.ndarray]:
        self.check_not_empty()
        return {"scores": np.concatenate(self._scores), "target": np.concatenate(self._targets)}

    def __len__(self) -> int:
        return sum(len(part) for part in self._targets)

    def extend(self, other: AveragePrecision) -> None:
        self._scores += other._scores
        self._targets += other._targets

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes}


def _precision_counts(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return true positives and all predicted, at each distinct score from the highest down; None without positives."""
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return np.cumsum(positive[order])[last_of_tie], last_of_tie + 1


def _ap_all(true_positives: np.ndarray, predicted: np.ndarray) -> float:
    """Return the sum over thresholds of precision times the step in recall."""
    steps = np.diff(true_positives, prepend=0)
    return math.fsum(steps * (true_positives / predicted)) / int(true_positives[-1])


def _ap_eleven(true_positives: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean, over recalls 0, .1, ..., 1, of the best precision at that recall or beyond (VOC 2007)."""
    precision, n_positive = true_positives / predicted, int(true_positives[-1])
    # Recall >= tenth / 10, in integers: .3 is not a binary fraction.
    return math.fsum(precision[10 * true_positives >= tenth * n_positive].max() for tenth in range(11)) / 11


METRIC = Metric(
    name="map",
    summary="the mean over classes of the average precision",
    takes=frozenset({"class", "labels"}),
    unit="fraction",
    options=(Option("points", "all", "all recalls, or the eleven of Pascal VOC 2007", choices=("all", "11")),),
    state=lambda facts, points: AveragePrecision(facts.n_classes, points=points),
)
