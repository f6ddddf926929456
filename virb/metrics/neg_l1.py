"""Minus the mean absolute error over all pixels with a target."""

from __future__ import annotations

from typing import Any

import numpy as np

from virb.contracts.metric import OF_TARGET, Metric, State
from virb.errors import UsageError
from virb.metrics.arrays import as_array, mean_of, pairs
from virb.metrics.resampling import errors


class MeanL1(State):
    """Mean absolute error over all pixels with a target; the score is its negative (metres, for depth).

    ``prediction`` holds, for each image, (1, H, W) or (H, W); ``target`` (H, W), where NaN has no target. Every valid
    pixel of the data set weighs the same, whatever image it is in.
    """

    def __init__(self, *, name: str = "neg_l1") -> None:
        self.name = name
        self._sums: list[float] = []
        self._counts: list[int] = []

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            guess, truth = as_array(one).astype(np.float64), as_array(wanted).astype(np.float64)
            if guess.ndim == truth.ndim + 1 and guess.shape[0] == 1:
                guess = guess[0]
            if guess.shape != truth.shape:
                raise UsageError(f"A prediction of shape {guess.shape} for a target of shape {truth.shape}.")
            valid = ~np.isnan(truth)
            self._sums.append(float(np.abs(guess[valid] - truth[valid]).sum()))
            self._counts.append(int(valid.sum()))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        mean = mean_of(self._sums, self._counts)
        return {"neg_l1": -mean, "l1": mean}

    def per_example(self) -> dict[str, np.ndarray]:
        return {
            "sum_absolute_error": np.array(self._sums, dtype=np.float64),
            "n_valid": np.array(self._counts, dtype=np.int64),
        }

    def __len__(self) -> int:
        return len(self._counts)

    def extend(self, other: MeanL1) -> None:
        self._sums += other._sums
        self._counts += other._counts


METRIC = Metric(
    name="neg_l1",
    summary="minus the mean absolute error over all pixels with a target",
    takes=frozenset({"map"}),
    unit=OF_TARGET,
    state=lambda facts: MeanL1(),
    resampling=errors("sum_absolute_error"),
)
