"""Errors of correspondences; pck and pck_point are its metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import UsageError
from virb.metrics.arrays import as_array, pairs


class CorrespondenceMetric(State):
    """The share of points that are found within ``alpha`` of a length (PCK; Yang and Ramanan 2013, Min et al. 2019).

    ``prediction`` holds, for each pair of images, the motion in pixels (right, down), the first two of (2 or more, H, W);
    ``target`` is (H, W, 2), where NaN has no target, or (H, W, 3), whose third number is the length in pixels: of SPair-71k the longer side of the target
    object's box. Without it the length is the longer side of the image. A point counts whose error is below alpha times the length.

    ``pck`` is of each pair and then the mean over pairs that have a point; ``pck_point`` is of all points.
    """

    def __init__(self, *, name: str, alpha: float) -> None:
        self.name = name
        self.alpha = alpha
        self._right: list[int] = []
        self._counts: list[int] = []

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            guess, truth = as_array(one).astype(np.float64), as_array(wanted).astype(np.float64)
            fits = truth.ndim == 3 and truth.shape[2] in (2, 3)
            if not fits or guess.ndim != 3 or len(guess) < 2 or guess.shape[1:] != truth.shape[:2]:
                raise UsageError(
                    f"A prediction of shape {guess.shape} for a target of shape {truth.shape}; "
                    "expected (2, H, W) for (H, W, 2) or (H, W, 3)."
                )
            valid = ~np.isnan(truth).any(axis=2)
            error = np.hypot(guess[0][valid] - truth[valid, 0], guess[1][valid] - truth[valid, 1])
            length = truth[valid, 2] if truth.shape[2] == 3 else float(max(truth.shape[:2]))
            self._right.append(int((error < self.alpha * length).sum()))
            self._counts.append(int(valid.sum()))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        shares = [right / n for right, n in zip(self._right, self._counts, strict=True) if n]
        if not shares:
            return {"pck": math.nan, "pck_point": math.nan}
        return {"pck": math.fsum(shares) / len(shares), "pck_point": sum(self._right) / sum(self._counts)}

    def per_example(self) -> dict[str, np.ndarray]:
        return {
            "n_right": np.array(self._right, dtype=np.int64),
            "n_points": np.array(self._counts, dtype=np.int64),
        }

    def __len__(self) -> int:
        return len(self._counts)

    def extend(self, other: CorrespondenceMetric) -> None:
        self._right += other._right
        self._counts += other._counts

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "alpha": self.alpha}
