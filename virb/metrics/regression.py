"""Errors of numbers that an example has; rmse, mae and r2 are its three metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import DataError, UsageError
from virb.metrics.arrays import as_array, check_finite, mean_of


class NumberMetric(State):
    """Root mean squared error, mean absolute error and the coefficient of determination R2.

    ``prediction`` is (N,), (N, 1) or (N, M); ``target`` (N,) or (N, M), where NaN has no target. Errors are over all
    values; R2 is the mean over the M numbers of 1 - (sum of squared errors) / (sum of squares about the targets' mean), of
    those numbers that are not the same in every example.
    """

    def __init__(self, *, name: str) -> None:
        self.name = name
        self._predictions: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def update(self, prediction: Any, target: Any) -> None:
        guess, truth = as_array(prediction).astype(np.float64), as_array(target).astype(np.float64)
        guess, truth = (x[:, None] if x.ndim == 1 else x for x in (guess, truth))
        if guess.shape != truth.shape or guess.ndim != 2:
            raise UsageError(f"Predictions of shape {guess.shape} for targets of shape {truth.shape}; expected (N, M).")
        if self._targets and self._targets[0].shape[1] != truth.shape[1]:
            raise UsageError(f"{truth.shape[1]} numbers an example, after {self._targets[0].shape[1]}.")
        check_finite(guess)
        self._predictions.append(guess)
        self._targets.append(truth)

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        guess, truth = np.concatenate(self._predictions), np.concatenate(self._targets)
        errors = (guess - truth)[~np.isnan(truth)]
        found = {
            "rmse": math.sqrt(mean_of([float(e) ** 2 for e in errors], [1] * len(errors))),
            "mae": mean_of([abs(float(e)) for e in errors], [1] * len(errors)),
        }
        shares = [share for k in range(truth.shape[1]) if (share := _determined(guess[:, k], truth[:, k])) is not None]
        if shares:
            found["r2"] = math.fsum(shares) / len(shares)
        elif self.name == "r2":
            raise DataError("The targets are the same in every example; R2 is not defined. Use rmse or mae.")
        return found

    def per_example(self) -> dict[str, np.ndarray]:
        self.check_not_empty()
        return {"prediction": np.concatenate(self._predictions), "target": np.concatenate(self._targets)}

    def __len__(self) -> int:
        return sum(len(part) for part in self._targets)

    def extend(self, other: NumberMetric) -> None:
        self._predictions += other._predictions
        self._targets += other._targets


def _determined(guess: np.ndarray, truth: np.ndarray) -> float | None:
    """Return R2 of one number; None where its targets do not differ."""
    guess, truth = guess[~np.isnan(truth)], truth[~np.isnan(truth)]
    if len(truth) == 0 or truth.min() == truth.max():
        return None
    mean = math.fsum(truth) / len(truth)
    return 1 - math.fsum((guess - truth) ** 2) / math.fsum((truth - mean) ** 2)
