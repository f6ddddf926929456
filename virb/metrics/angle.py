"""Angles between directions, such as surface normals; mean_angle and median_angle are its metrics."""

from __future__ import annotations

import numpy as np

from virb.contracts.metric import State
from virb.errors import UsageError
from virb.metrics.arrays import as_array, check_finite, mean_of, pairs

BINS_A_DEGREE = 10
WITHIN_DEGREES = (11.25, 22.5, 30.0)


class AngleMetric(State):
    """The angle in degrees between a predicted and a true direction, over all pixels with a target, each weighing the same.

    ``prediction`` holds, for each image, (3, H, W) of any length; ``target`` (H, W, 3), where NaN in any component or a
    length of 0 has no target. A prediction of length 0 is a right angle off. Beside the mean and the median: the shares
    below 11.25, 22.5 and 30 degrees. The median is read off a histogram of tenths of a degree, to half of one.
    """

    def __init__(self, *, name: str) -> None:
        self.name = name
        self._sums: list[float] = []
        self._within: list[list[int]] = []
        self._histograms: list[np.ndarray] = []

    def update(self, prediction: object, target: object) -> None:
        for one, wanted in pairs(prediction, target):
            guess, truth = as_array(one).astype(np.float64), as_array(wanted).astype(np.float64)
            if truth.ndim != 3 or truth.shape[2] != 3 or guess.shape != (3, *truth.shape[:2]):
                raise UsageError(
                    f"A prediction of shape {guess.shape} for a target of shape {truth.shape}; "
                    "expected (3, H, W) for (H, W, 3)."
                )
            valid = np.linalg.norm(truth, axis=2) > 0  # false for NaN
            found, true = guess.transpose(1, 2, 0)[valid], truth[valid]
            check_finite(found)
            lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1)
            cosine = (found * true).sum(1) / np.where(lengths > 0, lengths, 1)
            angles = np.degrees(np.arccos(cosine.clip(-1, 1)))
            bins = np.minimum((angles * BINS_A_DEGREE).astype(np.int64), 180 * BINS_A_DEGREE - 1)
            self._sums.append(float(angles.sum()))
            self._within.append([int((angles < limit).sum()) for limit in WITHIN_DEGREES])
            self._histograms.append(np.bincount(bins, minlength=180 * BINS_A_DEGREE).astype(np.int32))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        histogram = np.sum(self._histograms, axis=0, dtype=np.int64)
        n = int(histogram.sum())
        mean = mean_of(self._sums, [int(found.sum()) for found in self._histograms])
        before = np.cumsum(histogram)
        ranks = ((n - 1) // 2, n // 2)  # one pixel, or the two in the middle
        middle = [int(np.searchsorted(before, rank, side="right")) for rank in ranks]
        within = np.sum(self._within, axis=0)
        return {
            "mean_angle": mean,
            "median_angle": (sum(middle) / 2 + 0.5) / BINS_A_DEGREE,
            **{f"within_{limit:g}": int(count) / n for limit, count in zip(WITHIN_DEGREES, within, strict=True)},
        }

    def per_example(self) -> dict[str, np.ndarray]:
        return {
            "sum_angle": np.array(self._sums, dtype=np.float64),
            "n_within": np.array(self._within, dtype=np.int64).reshape(-1, len(WITHIN_DEGREES)),
            "histogram": np.array(self._histograms, dtype=np.int32).reshape(-1, 180 * BINS_A_DEGREE),
        }

    def __len__(self) -> int:
        return len(self._sums)

    def extend(self, other: AngleMetric) -> None:
        self._sums += other._sums
        self._within += other._within
        self._histograms += other._histograms
