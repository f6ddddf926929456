"""The F measure of the boundaries of masks (DAVIS, Perazzi et al. 2016), the mean over classes and then over images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import Metric, State
from virb.contracts.parts import Option
from virb.errors import DataError, UsageError
from virb.metrics.arrays import as_array, as_classes, largest, pairs


class BoundaryF(State):
    """How well the outlines of each class agree, to a tolerance of ``ceil(share x diagonal)`` pixels.

    ``prediction`` holds, for each image, scores (K, H, W) or classes (H, W); ``target`` classes (H, W). A boundary is the
    pixels that differ from the next one to the right, below or both (DAVIS's seg2bmap). Precision is the share of predicted
    boundary pixels within the tolerance of a true one, recall the reverse; F = 2PR / (P + R); a class that only one of the
    two has scores 0, and one that neither has is left out. Outlines beside pixels without a target do not count.
    """

    def __init__(self, n_classes: int, *, ignore_index: int | None = None, share: float = 0.008) -> None:
        self.name = "boundary_f"
        self.n_classes = n_classes
        self.ignore_index = ignore_index
        self.share = share
        self._f: list[np.ndarray] = []  # one float (K,) an image, NaN where the class has no outline

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            truth = as_array(wanted)
            classes = largest(one) if one.ndim == 3 and one.shape[0] == self.n_classes else as_array(one)
            if classes.shape != truth.shape or truth.ndim != 2:
                raise UsageError(
                    f"A prediction of shape {tuple(one.shape)} for a target of shape {truth.shape}; "
                    f"expected ({self.n_classes}, H, W) or (H, W) for (H, W)."
                )
            is_void = np.zeros(truth.shape, bool) if self.ignore_index is None else truth == self.ignore_index
            near_void = _next_to(is_void)
            radius = math.ceil(self.share * math.hypot(*truth.shape))
            as_classes(classes[~is_void].ravel(), self.n_classes, "prediction")
            as_classes(truth[~is_void].ravel(), self.n_classes, "target")
            found = np.full(self.n_classes, np.nan)
            for k in np.union1d(np.unique(classes[~is_void]), np.unique(truth[~is_void])).astype(int):
                a, b = (boundary((mask == k) & ~is_void) & ~near_void for mask in (classes, truth))
                found[k] = f_measure(a, b, radius)
            self._f.append(found)

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        means = [float(np.nanmean(found)) for found in self._f if np.isfinite(found).any()]
        if not means:
            raise DataError("No image has an outline; the boundary F is not defined.")
        return {self.name: math.fsum(means) / len(means)}

    def per_class(self) -> list[float]:
        columns = np.array(self._f).reshape(-1, self.n_classes).T
        return [math.fsum(v[np.isfinite(v)]) / n if (n := int(np.isfinite(v).sum())) else math.nan for v in columns]

    def per_example(self) -> dict[str, np.ndarray]:
        return {"boundary_f": np.array(self._f, dtype=np.float64).reshape(-1, self.n_classes)}

    def __len__(self) -> int:
        return len(self._f)

    def extend(self, other: BoundaryF) -> None:
        self._f += other._f

    def settings(self) -> dict[str, Any]:
        about = {"n_classes": self.n_classes, "ignore_index": self.ignore_index, "share": self.share}
        return {"name": self.name, **about}


def boundary(mask: np.ndarray) -> np.ndarray:
    """Return the outline of a mask, bool (H, W): pixels that differ from the next right, below or diagonally below."""
    right, below, both = (np.array(mask) for _ in range(3))
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    both[-1, :-1], both[:-1, -1] = mask[-1, 1:], mask[1:, -1]
    return (mask ^ right) | (mask ^ below) | (mask ^ both)


def f_measure(found: np.ndarray, true: np.ndarray, radius: float) -> float:
    """Return the F measure of two outlines, NaN where neither has a pixel."""
    from scipy.ndimage import distance_transform_edt

    if not found.any() and not true.any():
        return math.nan
    if not found.any() or not true.any():
        return 0.0
    precision = float((distance_transform_edt(~true)[found] <= radius).mean())
    recall = float((distance_transform_edt(~found)[true] <= radius).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _next_to(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    padded = np.pad(mask, 1)
    height, width = mask.shape
    for down in range(3):
        for across in range(3):
            out |= padded[down : down + height, across : across + width]
    return out


METRIC = Metric(
    name="boundary_f",
    summary="the F measure of the classes' outlines, the mean over classes and then over images",
    takes=frozenset({"mask"}),
    unit="fraction",
    state=lambda facts, share: BoundaryF(facts.n_classes, ignore_index=facts.ignore_index, share=share),
    options=(Option("share", 0.008, "of the image's diagonal, how far an outline may be off", low=0),),
)
