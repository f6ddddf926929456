"""What the metrics share: arrays from tensors, checks that name what was found, and exact sums."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from virb.errors import DataError, TrainingError, UsageError


def pairs(prediction: Any, target: Any) -> Iterable[tuple[Any, Any]]:
    """Pair up the images of a batch."""
    if len(prediction) != len(target):
        raise UsageError(f"{len(prediction)} predictions for {len(target)} targets.")
    return zip(prediction, target, strict=True)


def as_array(value: Any) -> np.ndarray:
    """Return an array; torch tensors are detached and brought to the CPU without importing torch here."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()  # numpy has no bfloat16
    return np.asarray(value)


def largest(scores: Any) -> np.ndarray:
    """Return the classes (H, W) of scores (K, H, W); a tensor's on its own device, as maps are large."""
    if hasattr(scores, "detach"):
        if not bool(scores.isfinite().all()):
            check_finite(np.array([math.nan]))
        return as_array(scores.argmax(0))
    array = np.asarray(scores)
    check_finite(array)
    return array.argmax(axis=0)


def check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise TrainingError(
            "A head's outputs are not finite (NaN or infinite). Its training diverged; lower the learning rate."
        )


def as_classes(values: np.ndarray, n_classes: int, what: str) -> np.ndarray:
    """Return int64 classes after checking that they are whole and in range."""
    if not np.issubdtype(values.dtype, np.integer):
        whole = values.astype(np.int64)
        if not np.array_equal(whole, values):
            raise DataError(f"A {what} is not a whole number; expected classes 0 to {n_classes - 1}.")
        values = whole
    if values.size and (int(values.min()) < 0 or int(values.max()) >= n_classes):
        low, high = int(values.min()), int(values.max())
        raise DataError(f"The {what}s run from {low} to {high}; expected classes 0 to {n_classes - 1}.")
    return values.astype(np.int64)


def ratios(numerator: np.ndarray, denominator: np.ndarray) -> list[float]:
    return [int(a) / int(b) if b else math.nan for a, b in zip(numerator, denominator, strict=True)]


def mean_of(sums: Sequence[float], counts: Sequence[int]) -> float:
    n = sum(counts)
    if n == 0:
        raise DataError("No pixel of any image has a target; the error is not defined.")
    # fsum refuses to add infinities of both signs, and NaN must stay visible.
    return math.fsum(sums) / n if all(map(math.isfinite, sums)) else math.nan
