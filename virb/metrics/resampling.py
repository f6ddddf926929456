"""What the statistics that a metric keeps of each example are worth: the score again, without each one, and in a paired test.

A metric that is made of single examples says which of these is its own (``Metric.resampling``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virb.contracts.metric import Resampling
from virb.errors import ScoresError
from virb.stats.permutation import PermutationTest, miou_test, paired_permutation_test, sign_flip_test

if TYPE_CHECKING:
    from virb.contracts.metric import Arrays


def _right(arrays: Arrays) -> np.ndarray:
    right: np.ndarray = arrays["prediction"] == arrays["target"]
    return right


def _labels_test(metric: str) -> Resampling.Test:
    def test(a: Arrays, b: Arrays, *, samples: int, seed: int) -> PermutationTest:
        if not np.array_equal(a["target"], b["target"]):
            raise ScoresError("The two encoders' predictions have different targets for the same examples.")
        return paired_permutation_test(
            a["target"], a["prediction"], b["prediction"], metric=metric, samples=samples, seed=seed
        )

    return test


def _share_without(arrays: Arrays) -> np.ndarray:
    right = _right(arrays)
    return (right.sum() - right) / max(len(right) - 1, 1)


def _mean_of_classes(arrays: Arrays) -> float:
    _, label = np.unique(arrays["target"], return_inverse=True)
    return float(np.mean(np.bincount(label, _right(arrays)) / np.bincount(label)))


def _mean_of_classes_without(arrays: Arrays) -> np.ndarray:
    right = _right(arrays)
    _, label = np.unique(arrays["target"], return_inverse=True)
    size, hits = np.bincount(label), np.bincount(label, right)
    # A class of one example would be gone without it; its share then stays what it is.
    without = np.where(size[label] > 1, (hits[label] - right) / np.maximum(size[label] - 1, 1), hits[label])
    means: np.ndarray = (hits / size).mean() + (without - (hits / size)[label]) / len(size)
    return means


def _overlap_and_union(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    overlap = arrays["intersection"].astype(float)
    return overlap, arrays["predicted"].astype(float) + arrays["target"] - overlap


def _iou(arrays: Arrays) -> float:
    overlap, union = (counts.sum(axis=0) for counts in _overlap_and_union(arrays))
    return float(np.mean(overlap[union > 0] / union[union > 0]))


def _iou_without(arrays: Arrays) -> np.ndarray:
    overlap, union = _overlap_and_union(arrays)
    i, u = overlap.sum(axis=0) - overlap, union.sum(axis=0) - union  # (N, C): dataset-level counts without each
    return np.nanmean(np.where(u > 0, i / np.where(u > 0, u, 1), np.nan), axis=1)


def _iou_test(a: Arrays, b: Arrays, *, samples: int, seed: int) -> PermutationTest:
    unions = [p["predicted"] + p["target"] - p["intersection"] for p in (a, b)]
    return miou_test(a["intersection"], unions[0], b["intersection"], unions[1], samples=samples, seed=seed)


#: The share of examples whose label is right.
SHARE_RIGHT = Resampling(
    needs=("prediction", "target"),
    score=lambda arrays: float(np.mean(_right(arrays))),
    without_each=_share_without,
    test=_labels_test("top1"),
)
#: The mean over the classes that occur in the targets of the share of theirs that is right.
MEAN_OF_CLASSES = Resampling(
    needs=("prediction", "target"),
    score=_mean_of_classes,
    without_each=_mean_of_classes_without,
    test=_labels_test("mean_per_class"),
)
#: The mean over classes of intersection over union, of pixels counted image by image.
OVERLAP = Resampling(
    needs=("intersection", "predicted", "target"), score=_iou, without_each=_iou_without, test=_iou_test
)


def mean_of(key: str) -> Resampling:
    """The mean over examples of the numbers ``key``, one an example."""

    def without_each(arrays: Arrays) -> np.ndarray:
        values = arrays[key].astype(float)
        without: np.ndarray = (values.sum() - values) / max(len(values) - 1, 1)
        return without

    def test(a: Arrays, b: Arrays, *, samples: int, seed: int) -> PermutationTest:
        return sign_flip_test(a[key].astype(float) - b[key].astype(float), samples=samples, seed=seed)

    return Resampling(
        needs=(key,), score=lambda arrays: float(np.mean(arrays[key])), without_each=without_each, test=test
    )


def errors(key: str, *, best: float = 0.0) -> Resampling:
    """``best`` minus the errors of all images over the pixels of all images: sums ``key`` and counts ``n_valid`` an image."""

    def without_each(arrays: Arrays) -> np.ndarray:
        error, valid = arrays[key].astype(float), arrays["n_valid"].astype(float)
        without: np.ndarray = best - (error.sum() - error) / np.maximum(valid.sum() - valid, 1)
        return without

    def test(a: Arrays, b: Arrays, *, samples: int, seed: int) -> PermutationTest:
        total = a["n_valid"].sum()
        if not np.array_equal(a["n_valid"], b["n_valid"]) or total == 0:
            raise ScoresError("The two encoders were scored on different pixels of the same images.")
        # The score is a mean over images of this.
        return sign_flip_test((b[key] - a[key]) * (len(a[key]) / total), samples=samples, seed=seed)

    return Resampling(
        needs=(key, "n_valid"),
        score=lambda arrays: best - float(arrays[key].sum() / arrays["n_valid"].sum()),
        without_each=without_each,
        test=test,
    )
