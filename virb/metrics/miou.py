"""Mean intersection over union of the classes in masks, over the whole data set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import Metric, State
from virb.errors import DataError, UsageError
from virb.metrics.arrays import as_array, as_classes, largest, pairs, ratios
from virb.metrics.resampling import OVERLAP


class MeanIoU(State):
    """Mean over classes of the data set's intersection over union, as Kotar et al. 2021 define mIOU (Appendix B).

    ``prediction`` holds, for each image, scores (K, H, W) or classes (H, W); ``target`` classes (H, W), where
    ``ignore_index`` marks pixels that count for nothing. Both are arrays over the batch or sequences of images of any
    sizes. Intersections and unions are summed over all images before they are divided; a class that occurs neither in
    the targets nor in the predictions is left out of the mean.
    """

    def __init__(self, n_classes: int, *, ignore_index: int | None = None, name: str = "miou") -> None:
        self.name = name
        self.n_classes = n_classes
        self.ignore_index = ignore_index
        self._intersection: list[np.ndarray] = []  # one int (K,) an image
        self._predicted: list[np.ndarray] = []
        self._target: list[np.ndarray] = []

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in pairs(prediction, target):
            shape = tuple(wanted.shape)
            if one.ndim == 3 and one.shape[0] == self.n_classes and tuple(one.shape[1:]) == shape:
                classes = largest(one)
            elif tuple(one.shape) == shape and len(shape) == 2:
                classes = as_array(one)
            else:
                raise UsageError(
                    f"A prediction of shape {tuple(one.shape)} for a target of shape {shape}; "
                    f"expected ({self.n_classes}, H, W) or (H, W) for (H, W)."
                )
            truth = as_array(wanted)
            if self.ignore_index is not None:
                counted = truth != self.ignore_index
                classes, truth = classes[counted], truth[counted]
            k = self.n_classes
            flat_p = as_classes(classes.ravel(), k, "prediction")
            flat_t = as_classes(truth.ravel(), k, "target")
            self._intersection.append(np.bincount(flat_t[flat_t == flat_p], minlength=k))
            self._predicted.append(np.bincount(flat_p, minlength=k))
            self._target.append(np.bincount(flat_t, minlength=k))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        present = [value for value in self.per_class() if not math.isnan(value)]
        if not present:
            raise DataError("No pixel of any image has a target; mIOU is not defined.")
        n_right, n_pixels = int(np.sum(self._intersection)), int(np.sum(self._target))
        return {"miou": math.fsum(present) / len(present), "pixel_accuracy": n_right / n_pixels}

    def per_class(self) -> list[float]:
        if not self._target:
            return [math.nan] * self.n_classes
        intersection = np.sum(self._intersection, axis=0)
        return ratios(intersection, np.sum(self._predicted, axis=0) + np.sum(self._target, axis=0) - intersection)

    def per_example(self) -> dict[str, np.ndarray]:
        shape = (len(self), self.n_classes)
        return {
            "intersection": np.array(self._intersection, dtype=np.int64).reshape(shape),
            "predicted": np.array(self._predicted, dtype=np.int64).reshape(shape),
            "target": np.array(self._target, dtype=np.int64).reshape(shape),
        }

    def __len__(self) -> int:
        return len(self._target)

    def extend(self, other: MeanIoU) -> None:
        self._intersection += other._intersection
        self._predicted += other._predicted
        self._target += other._target

    def settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes, "ignore_index": self.ignore_index}


METRIC = Metric(
    name="miou",
    summary="the mean over classes of the intersection over union, of the whole data set",
    takes=frozenset({"mask"}),
    unit="fraction",
    state=lambda facts: MeanIoU(facts.n_classes, ignore_index=facts.ignore_index),
    resampling=OVERLAP,
)
