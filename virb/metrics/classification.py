"""Accuracy over examples and over classes, from one confusion matrix; top1 and mean_per_class are its two metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import UsageError
from virb.metrics.arrays import as_array, as_classes, check_finite, ratios


class ClassificationMetric(State):
    """Top-1 accuracy, and the mean over classes of each class's accuracy (its recall).

    ``prediction`` is scores (N, K), of which the first largest counts, or classes (N,); ``target`` is classes (N,).
    Classes that do not occur in the targets are left out of the mean per class.
    """

    def __init__(self, n_classes: int, *, name: str = "top1") -> None:
        self.name = name
        self.n_classes = n_classes
        self._predictions: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def update(self, prediction: Any, target: Any) -> None:
        scores = as_array(prediction)
        if scores.ndim == 2:
            if scores.shape[1] != self.n_classes:
                raise UsageError(f"{scores.shape[1]} scores an example; expected {self.n_classes}, one a class.")
            check_finite(scores)
            scores = scores.argmax(axis=1)
        wanted = as_array(target)
        if scores.shape != wanted.shape or wanted.ndim != 1:
            raise UsageError(f"Predictions of shape {scores.shape} for targets of shape {wanted.shape}; expected (N,).")
        self._predictions.append(as_classes(scores, self.n_classes, "prediction"))
        self._targets.append(as_classes(wanted, self.n_classes, "target"))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        confusion = self.confusion()
        per_class = [value for value in self.per_class() if not math.isnan(value)]
        return {
            "top1": int(np.trace(confusion)) / int(confusion.sum()),
            "mean_per_class": math.fsum(per_class) / len(per_class),
        }

    def confusion(self) -> np.ndarray:
        """Return counts, int (K, K): rows are targets, columns predictions."""
        k = self.n_classes
        pairs = [t * k + p for t, p in zip(self._targets, self._predictions, strict=True)]
        flat = np.concatenate(pairs) if pairs else np.zeros(0, np.int64)
        return np.bincount(flat, minlength=k * k).reshape(k, k)

    def per_class(self) -> list[float]:
        confusion = self.confusion()
        return ratios(np.diagonal(confusion), confusion.sum(axis=1))

    def per_example(self) -> dict[str, np.ndarray]:
        empty = np.zeros(0, np.int64)
        return {
            "prediction": np.concatenate([empty, *self._predictions]),
            "target": np.concatenate([empty, *self._targets]),
        }

    def __len__(self) -> int:
        return sum(len(part) for part in self._targets)

    def extend(self, other: ClassificationMetric) -> None:
        self._predictions += other._predictions
        self._targets += other._targets

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes}
