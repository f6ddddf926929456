"""Errors of optical flow; one_minus_all and neg_epe are its two metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import UsageError
from virb.metrics.arrays import as_array, mean_of, pairs

OUTLIER_PX = 3.0  # KITTI: an outlier is off by more than 3 px and by more than 5 % of the true flow's length
OUTLIER_SHARE = 0.05


class FlowMetric(State):
    """KITTI's 1-All (one minus the share of outlier pixels) and the mean end-point error, over pixels with a target.

    ``prediction`` holds, for each image, (2, H, W) in pixels (u right, v down); ``target`` (H, W, 2), where NaN in
    either component has no target. An outlier's end-point error is above 3 px and above 5 % of the true flow's length
    (Menze and Geiger 2015).
    """

    def __init__(self, *, name: str = "one_minus_all") -> None:
        self.name = name
        self._errors: list[float] = []
        self._outliers: list[int] = []
        self._counts: list[int] = []

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            guess, truth = as_array(one).astype(np.float64), as_array(wanted).astype(np.float64)
            if truth.ndim != 3 or truth.shape[2] != 2 or guess.shape != (2, *truth.shape[:2]):
                raise UsageError(
                    f"A prediction of shape {guess.shape} for a target of shape {truth.shape}; "
                    "expected (2, H, W) for (H, W, 2)."
                )
            valid = ~np.isnan(truth).any(axis=2)
            u, v = truth[valid, 0], truth[valid, 1]
            error = np.hypot(guess[0][valid] - u, guess[1][valid] - v)
            # Written so that an error that is NaN counts as an outlier.
            is_inlier = (error <= OUTLIER_PX) | (error <= OUTLIER_SHARE * np.hypot(u, v))
            self._errors.append(float(error.sum()))
            self._outliers.append(int((~is_inlier).sum()))
            self._counts.append(int(valid.sum()))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        error = mean_of(self._errors, self._counts)
        n_pixels = sum(self._counts)
        return {
            "one_minus_all": (n_pixels - sum(self._outliers)) / n_pixels,
            "neg_epe": -error,
            "epe": error,
        }

    def per_example(self) -> dict[str, np.ndarray]:
        return {
            "sum_end_point_error": np.array(self._errors, dtype=np.float64),
            "n_outliers": np.array(self._outliers, dtype=np.int64),
            "n_valid": np.array(self._counts, dtype=np.int64),
        }

    def __len__(self) -> int:
        return len(self._counts)

    def extend(self, other: FlowMetric) -> None:
        self._errors += other._errors
        self._outliers += other._outliers
        self._counts += other._counts
