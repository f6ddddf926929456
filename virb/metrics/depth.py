"""Errors of maps of positive numbers, such as depth; depth_rmse, abs_rel, delta1 and silog are its metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import DataError, UsageError
from virb.metrics.arrays import as_array, check_finite, mean_of, pairs

LEAST = 1e-3  # a smaller target is no measurement, and a smaller prediction is this one
STEP = 1.25


class DepthMetric(State):
    """The errors of Eigen et al. 2014: RMSE, AbsRel, the shares within 1.25, 1.25^2 and 1.25^3, and the scale-invariant one.

    ``prediction`` holds, for each image, (1, H, W) or (H, W); ``target`` (H, W) in the same unit. Pixels count whose target
    is a number above .001, and with ``cap`` below it; predictions are clipped to that range. With d the prediction, t the
    target and e = ln d - ln t: RMSE = sqrt(mean (d - t)^2), AbsRel = mean |d - t| / t, delta_k the share with
    max(d / t, t / d) < 1.25^k, silog = 100 sqrt(mean e^2 - (mean e)^2).

    Numbers are of all pixels of the data set, each weighing the same; those that end in ``_image`` are of each image, and
    then the mean over images that have a target, as DINOv2 and DINOv3 report them. An RMSE of images is smaller.
    """

    def __init__(self, *, name: str, cap: float | None = None) -> None:
        self.name = name
        self.cap = cap
        self._counts: list[tuple[int, int, int, int]] = []  # valid pixels, and those within each power of 1.25
        self._sums: list[tuple[float, float, float, float]] = []  # of (d - t)^2, |d - t| / t, e and e^2

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            guess, truth = as_array(one).astype(np.float64), as_array(wanted).astype(np.float64)
            if guess.ndim == truth.ndim + 1 and guess.shape[0] == 1:
                guess = guess[0]
            if guess.shape != truth.shape or truth.ndim != 2:
                raise UsageError(
                    f"A prediction of shape {guess.shape} for a target of shape {truth.shape}; expected (1, H, W) for (H, W)."
                )
            most = math.inf if self.cap is None else self.cap
            valid = (truth > LEAST) & (truth < most)  # false for NaN
            d, t = guess[valid], truth[valid]
            check_finite(d)
            d = np.clip(d, LEAST, most)
            e, ratio = np.log(d) - np.log(t), np.maximum(d / t, t / d)
            within = [int((ratio < STEP**k).sum()) for k in (1, 2, 3)]
            self._counts.append((len(t), *within))  # type: ignore[arg-type]
            sums = ((d - t) ** 2, np.abs(d - t) / t, e, e**2)
            self._sums.append(tuple(float(values.sum()) for values in sums))  # type: ignore[arg-type]

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        counts, sums = np.array(self._counts), np.array(self._sums)
        n = [int(count) for count in counts[:, 0]]
        pooled = _numbers(
            [mean_of(list(sums[:, k]), n) for k in range(4)], [int(counts[:, k].sum()) / sum(n) for k in (1, 2, 3)]
        )
        images = [_numbers(list(s / c[0]), list(c[1:] / c[0])) for c, s in zip(counts, sums, strict=True) if c[0]]
        each = {f"{key}_image": math.fsum(image[key] for image in images) / len(images) for key in pooled}
        return {**pooled, **each}

    def per_example(self) -> dict[str, np.ndarray]:
        counts = np.array(self._counts, dtype=np.int64).reshape(-1, 4)
        sums = np.array(self._sums, dtype=np.float64).reshape(-1, 4)
        return {
            "n_valid": counts[:, 0],
            **{f"n_delta{k}": counts[:, k] for k in (1, 2, 3)},
            "sum_squared_error": sums[:, 0],
            "sum_relative_error": sums[:, 1],
            "sum_log_error": sums[:, 2],
            "sum_squared_log_error": sums[:, 3],
        }

    def __len__(self) -> int:
        return len(self._counts)

    def extend(self, other: DepthMetric) -> None:
        self._counts += other._counts
        self._sums += other._sums

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "cap": self.cap}


def _numbers(means: list[float], shares: list[float]) -> dict[str, float]:
    """Return the numbers of the means of (d - t)^2, |d - t| / t, e and e^2, and of the shares within each step."""
    squared, relative, log, squared_log = means
    variance = max(0.0, squared_log - log**2)  # rounding may leave less than nothing
    return {
        "depth_rmse": math.sqrt(squared),
        "abs_rel": relative,
        **{f"delta{k}": share for k, share in zip((1, 2, 3), shares, strict=True)},
        "silog": 100 * math.sqrt(variance),
    }


def checked_cap(cap: float | None) -> float | None:
    """Return ``cap``, which must be above the least target that counts."""
    if cap is not None and cap <= LEAST:
        raise DataError(f"A cap of {cap} leaves no target: those above {LEAST} count.")
    return cap
