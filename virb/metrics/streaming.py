"""Metrics: streaming, exact and independent of order. They know arrays, not tasks; torch tensors are taken too.

Counts are integers. Sums of real numbers are kept image by image and added by ``math.fsum``, which is correctly
rounded, so a score does not depend on the order of the images, on the batch size, or on how parts were merged.

Every metric has ``update(prediction, target)`` for a batch, ``compute()`` for all its numbers, ``score`` (higher is
better), ``per_class()``, ``merge(other)`` and ``per_image()``: arrays with one row an image from which ``compute`` can
be repeated on any selection of images, as a permutation test does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from virb.errors import DataError, TrainingError, UsageError

OUTLIER_PX = 3.0  # KITTI: an outlier is off by more than 3 px and by more than 5 % of the true flow's length
OUTLIER_SHARE = 0.05


class Metric(ABC):
    """What every metric offers. ``name`` is the key of ``compute()`` that ``score`` is."""

    name: str

    @abstractmethod
    def update(self, prediction: Any, target: Any) -> None:
        """Add a batch."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return all numbers of this metric over everything added.

        Raises:
            DataError: nothing was added, or nothing of it has a target.
        """

    @abstractmethod
    def per_image(self) -> dict[str, np.ndarray]:
        """Return the sufficient statistics, arrays of one row an image in the order of ``update``."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images (or examples) added."""

    @property
    def score(self) -> float:
        """The number to compare encoders by; higher is better."""
        return self.compute()[self.name]

    def per_class(self) -> list[float] | None:
        """One number a class (NaN where the class does not occur), or None where there are no classes."""
        return None

    def merge(self, other: Metric) -> None:
        """Add everything that ``other`` holds, as if its batches had been given to this metric after its own."""
        if type(other) is not type(self) or self._settings() != other._settings():
            raise UsageError(f"Cannot merge {other!r} into {self!r}: they are not the same metric.")
        self._extend(other)

    @abstractmethod
    def _extend(self, other: Any) -> None: ...

    def _settings(self) -> dict[str, Any]:
        return {"name": self.name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._settings().items())})"

    def _check_not_empty(self) -> None:
        if len(self) == 0:
            raise DataError(f"The metric {self.name!r} was given no examples; expected at least one.")


class ClassificationMetric(Metric):
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
        scores = _numpy(prediction)
        if scores.ndim == 2:
            if scores.shape[1] != self.n_classes:
                raise UsageError(f"{scores.shape[1]} scores an example; expected {self.n_classes}, one a class.")
            _check_finite(scores)
            scores = scores.argmax(axis=1)
        wanted = _numpy(target)
        if scores.shape != wanted.shape or wanted.ndim != 1:
            raise UsageError(f"Predictions of shape {scores.shape} for targets of shape {wanted.shape}; expected (N,).")
        self._predictions.append(_classes(scores, self.n_classes, "prediction"))
        self._targets.append(_classes(wanted, self.n_classes, "target"))

    def compute(self) -> dict[str, float]:
        self._check_not_empty()
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
        return _ratios(np.diagonal(confusion), confusion.sum(axis=1))

    def per_image(self) -> dict[str, np.ndarray]:
        empty = np.zeros(0, np.int64)
        return {
            "prediction": np.concatenate([empty, *self._predictions]),
            "target": np.concatenate([empty, *self._targets]),
        }

    def __len__(self) -> int:
        return sum(len(part) for part in self._targets)

    def _extend(self, other: ClassificationMetric) -> None:
        self._predictions += other._predictions
        self._targets += other._targets

    def _settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes}


class AveragePrecision(Metric):
    """Mean over classes of the average precision: over all points, and at eleven recalls (Pascal VOC 2007).

    ``prediction`` is scores (N, K); ``target`` is classes (N,), or (N, K) with 1 for present, 0 for absent and -1 for
    examples that do not count for that class (VOC's "difficult"). Examples of equal score enter together, so ties have
    no order. Classes without a positive example are left out of the mean.
    """

    def __init__(self, n_classes: int, *, name: str = "map", points: str = "all") -> None:
        if points not in ("all", "11"):
            raise UsageError(f"Unknown points={points!r} for mean average precision; expected 'all' or '11'.")
        self.name = name if points == "all" else f"{name}_11"
        self.n_classes = n_classes
        self._scores: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    def update(self, prediction: Any, target: Any) -> None:
        scores = _numpy(prediction).astype(np.float64)
        wanted = _numpy(target)
        if scores.ndim != 2 or scores.shape[1] != self.n_classes or len(wanted) != len(scores):
            raise UsageError(
                f"Scores of shape {scores.shape} for {len(wanted)} targets; expected (N, {self.n_classes})."
            )
        _check_finite(scores)
        if wanted.ndim == 1:
            wanted = np.eye(self.n_classes, dtype=np.int8)[_classes(wanted, self.n_classes, "target")]
        if wanted.shape != scores.shape or not np.isin(wanted, (-1, 0, 1)).all():
            raise DataError("Multi-label targets must be -1, 0 or 1, of the shape of the scores.")
        self._scores.append(scores)
        self._targets.append(wanted.astype(np.int8))

    def compute(self) -> dict[str, float]:
        self._check_not_empty()
        curves = [curve for curve in self._curves() if curve is not None]
        if not curves:
            raise DataError("No class has a positive example; average precision is not defined.")
        return {
            "map": math.fsum(_ap_all(*curve) for curve in curves) / len(curves),
            "map_11": math.fsum(_ap_eleven(*curve) for curve in curves) / len(curves),
        }

    def per_class(self) -> list[float]:
        average = _ap_eleven if self.name.endswith("_11") else _ap_all
        return [math.nan if curve is None else average(*curve) for curve in self._curves()]

    def _curves(self) -> Iterable[tuple[np.ndarray, np.ndarray] | None]:
        scores, targets = np.concatenate(self._scores), np.concatenate(self._targets)
        for k in range(self.n_classes):
            counted = targets[:, k] >= 0
            yield _precision_counts(scores[counted, k], targets[counted, k] == 1)

    def per_image(self) -> dict[str, np.ndarray]:
        self._check_not_empty()
        return {"scores": np.concatenate(self._scores), "target": np.concatenate(self._targets)}

    def __len__(self) -> int:
        return sum(len(part) for part in self._targets)

    def _extend(self, other: AveragePrecision) -> None:
        self._scores += other._scores
        self._targets += other._targets

    def _settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes}


def _precision_counts(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return true positives and all predicted, at each distinct score from the highest down; None without positives."""
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return np.cumsum(positive[order])[last_of_tie], last_of_tie + 1


def _ap_all(true_positives: np.ndarray, predicted: np.ndarray) -> float:
    """Return the sum over thresholds of precision times the step in recall."""
    steps = np.diff(true_positives, prepend=0)
    return math.fsum(steps * (true_positives / predicted)) / int(true_positives[-1])


def _ap_eleven(true_positives: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean, over recalls 0, .1, ..., 1, of the best precision at that recall or beyond (VOC 2007)."""
    precision, n_positive = true_positives / predicted, int(true_positives[-1])
    # Recall >= tenth / 10, in integers: .3 is not a binary fraction.
    return math.fsum(precision[10 * true_positives >= tenth * n_positive].max() for tenth in range(11)) / 11


class MeanIoU(Metric):
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
        for one, wanted in _pairs(prediction, target):
            shape = tuple(wanted.shape)
            if one.ndim == 3 and one.shape[0] == self.n_classes and tuple(one.shape[1:]) == shape:
                classes = _argmax(one)
            elif tuple(one.shape) == shape and len(shape) == 2:
                classes = _numpy(one)
            else:
                raise UsageError(
                    f"A prediction of shape {tuple(one.shape)} for a target of shape {shape}; "
                    f"expected ({self.n_classes}, H, W) or (H, W) for (H, W)."
                )
            truth = _numpy(wanted)
            if self.ignore_index is not None:
                counted = truth != self.ignore_index
                classes, truth = classes[counted], truth[counted]
            k = self.n_classes
            flat_p = _classes(classes.ravel(), k, "prediction")
            flat_t = _classes(truth.ravel(), k, "target")
            self._intersection.append(np.bincount(flat_t[flat_t == flat_p], minlength=k))
            self._predicted.append(np.bincount(flat_p, minlength=k))
            self._target.append(np.bincount(flat_t, minlength=k))

    def compute(self) -> dict[str, float]:
        self._check_not_empty()
        present = [value for value in self.per_class() if not math.isnan(value)]
        if not present:
            raise DataError("No pixel of any image has a target; mIOU is not defined.")
        n_right, n_pixels = int(np.sum(self._intersection)), int(np.sum(self._target))
        return {"miou": math.fsum(present) / len(present), "pixel_accuracy": n_right / n_pixels}

    def per_class(self) -> list[float]:
        if not self._target:
            return [math.nan] * self.n_classes
        intersection = np.sum(self._intersection, axis=0)
        return _ratios(intersection, np.sum(self._predicted, axis=0) + np.sum(self._target, axis=0) - intersection)

    def per_image(self) -> dict[str, np.ndarray]:
        shape = (len(self), self.n_classes)
        return {
            "intersection": np.array(self._intersection, dtype=np.int64).reshape(shape),
            "predicted": np.array(self._predicted, dtype=np.int64).reshape(shape),
            "target": np.array(self._target, dtype=np.int64).reshape(shape),
        }

    def __len__(self) -> int:
        return len(self._target)

    def _extend(self, other: MeanIoU) -> None:
        self._intersection += other._intersection
        self._predicted += other._predicted
        self._target += other._target

    def _settings(self) -> dict[str, Any]:
        return {"name": self.name, "n_classes": self.n_classes, "ignore_index": self.ignore_index}


class MeanL1(Metric):
    """Mean absolute error over all pixels with a target; the score is its negative (metres, for depth).

    ``prediction`` holds, for each image, (1, H, W) or (H, W); ``target`` (H, W), where NaN has no target. Every valid
    pixel of the data set weighs the same, whatever image it is in.
    """

    def __init__(self, *, name: str = "neg_l1") -> None:
        self.name = name
        self._sums: list[float] = []
        self._counts: list[int] = []

    def update(self, prediction: Any, target: Any) -> None:
        for one, wanted in _pairs(prediction, target):
            guess, truth = _numpy(one).astype(np.float64), _numpy(wanted).astype(np.float64)
            if guess.ndim == truth.ndim + 1 and guess.shape[0] == 1:
                guess = guess[0]
            if guess.shape != truth.shape:
                raise UsageError(f"A prediction of shape {guess.shape} for a target of shape {truth.shape}.")
            valid = ~np.isnan(truth)
            self._sums.append(float(np.abs(guess[valid] - truth[valid]).sum()))
            self._counts.append(int(valid.sum()))

    def compute(self) -> dict[str, float]:
        self._check_not_empty()
        mean = _mean(self._sums, self._counts)
        return {"neg_l1": -mean, "l1": mean}

    def per_image(self) -> dict[str, np.ndarray]:
        return {
            "sum_absolute_error": np.array(self._sums, dtype=np.float64),
            "n_valid": np.array(self._counts, dtype=np.int64),
        }

    def __len__(self) -> int:
        return len(self._counts)

    def _extend(self, other: MeanL1) -> None:
        self._sums += other._sums
        self._counts += other._counts


class FlowMetric(Metric):
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
        for one, wanted in _pairs(prediction, target):
            guess, truth = _numpy(one).astype(np.float64), _numpy(wanted).astype(np.float64)
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
        self._check_not_empty()
        error = _mean(self._errors, self._counts)
        n_pixels = sum(self._counts)
        return {
            "one_minus_all": (n_pixels - sum(self._outliers)) / n_pixels,
            "neg_epe": -error,
            "epe": error,
        }

    def per_image(self) -> dict[str, np.ndarray]:
        return {
            "sum_end_point_error": np.array(self._errors, dtype=np.float64),
            "n_outliers": np.array(self._outliers, dtype=np.int64),
            "n_valid": np.array(self._counts, dtype=np.int64),
        }

    def __len__(self) -> int:
        return len(self._counts)

    def _extend(self, other: FlowMetric) -> None:
        self._errors += other._errors
        self._outliers += other._outliers
        self._counts += other._counts


def build_metric(name: str, *, n_classes: int = 0, ignore_index: int | None = None, **options: Any) -> Metric:
    """Return a fresh metric by one of the names a task may declare (``virb.contracts.task.METRICS``).

    Args:
        n_classes: of classification and mIOU; 0 for a regression.
        ignore_index: the class index in a mask that counts for nothing (mIOU).
        options: ``points`` ("all" or "11") for "map".

    Raises:
        UsageError: for an unknown name or option, or where the classes are missing.
    """
    needs_classes = name in ("top1", "mean_per_class", "map", "miou")
    if needs_classes and n_classes < 2:
        raise UsageError(f"The metric {name!r} needs n_classes >= 2; found {n_classes}.")
    if options and (name != "map" or set(options) != {"points"}):
        raise UsageError(f"The metric {name!r} has no option {', '.join(sorted(options))}.")
    if name in ("top1", "mean_per_class"):
        return ClassificationMetric(n_classes, name=name)
    if name == "map":
        return AveragePrecision(n_classes, **options)
    if name == "miou":
        return MeanIoU(n_classes, ignore_index=ignore_index)
    if name == "neg_l1":
        return MeanL1()
    if name in ("one_minus_all", "neg_epe"):
        return FlowMetric(name=name)
    raise UsageError(
        f"Unknown metric {name!r}; expected one of top1, mean_per_class, map, miou, neg_l1, one_minus_all, neg_epe."
    )


def _pairs(prediction: Any, target: Any) -> Iterable[tuple[Any, Any]]:
    """Pair up the images of a batch."""
    if len(prediction) != len(target):
        raise UsageError(f"{len(prediction)} predictions for {len(target)} targets.")
    return zip(prediction, target, strict=True)


def _numpy(value: Any) -> np.ndarray:
    """Return an array; torch tensors are detached and brought to the CPU without importing torch here."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()  # numpy has no bfloat16
    return np.asarray(value)


def _argmax(scores: Any) -> np.ndarray:
    """Return the classes (H, W) of scores (K, H, W); a tensor's on its own device, as maps are large."""
    if hasattr(scores, "detach"):
        if not bool(scores.isfinite().all()):
            _check_finite(np.array([math.nan]))
        return _numpy(scores.argmax(0))
    array = np.asarray(scores)
    _check_finite(array)
    return array.argmax(axis=0)


def _check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise TrainingError(
            "A head's outputs are not finite (NaN or infinite). Its training diverged; lower the learning rate."
        )


def _classes(values: np.ndarray, n_classes: int, what: str) -> np.ndarray:
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


def _ratios(numerator: np.ndarray, denominator: np.ndarray) -> list[float]:
    return [int(a) / int(b) if b else math.nan for a, b in zip(numerator, denominator, strict=True)]


def _mean(sums: Sequence[float], counts: Sequence[int]) -> float:
    n = sum(counts)
    if n == 0:
        raise DataError("No pixel of any image has a target; the error is not defined.")
    # fsum refuses to add infinities of both signs, and NaN must stay visible.
    return math.fsum(sums) / n if all(map(math.isfinite, sums)) else math.nan
