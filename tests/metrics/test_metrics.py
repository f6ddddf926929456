"""The metrics against independent computations, hand cases, and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from virb import registry
from virb.errors import DataError, TrainingError, UsageError
from virb.metrics import build_metric

RNG = np.random.default_rng(0)
K = 4
METRICS = registry.names("metrics")


def batches(name: str, n: int, rng: np.random.Generator):
    """Return n (prediction, target) pairs of one example each, of the metric's shapes."""
    out = []
    for _ in range(n):
        h, w = rng.integers(2, 6, 2)
        if name in ("top1", "mean_per_class", "map"):
            out.append((rng.integers(0, 5, (1, K)) / 4, rng.integers(0, K, 1)))  # coarse scores: ties occur
        elif registry.load("metrics", name).takes == {"mask"}:
            target = rng.integers(0, K, (h, w))
            out.append(([rng.integers(0, K, (h, w))], [np.where(rng.random((h, w)) < 0.2, 255, target)]))
        elif registry.load("metrics", name).takes == {"number"}:
            out.append((rng.normal(3, 1, (1, 2)), rng.normal(3, 1, (1, 2))))
        elif registry.load("metrics", name).takes == {"relevance"}:
            out.append((rng.random((1, 9)), rng.integers(-1, 3, (1, 9))))
        elif name == "neg_l1" or name.startswith(("depth_", "abs_", "delta", "silog")):
            target = np.where(rng.random((h, w)) < 0.2, np.nan, rng.normal(3, 1, (h, w)))
            out.append(([rng.normal(3, 1, (h, w))], [target]))
        else:
            n = 3 if name.endswith("angle") else 2
            target = np.where(rng.random((h, w, 1)) < 0.2, np.nan, rng.normal(0, 20, (h, w, n)))
            out.append(([np.nan_to_num(target.transpose(2, 0, 1)) + rng.normal(0, 3, (n, h, w))], [target]))
    return out


def build(name: str):
    return build_metric(name, n_classes=K, ignore_index=255)


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_order_and_merging_do_not_change_a_bit(name, seed):
    rng = np.random.default_rng(seed)
    parts = batches(name, 12, rng)
    whole, shuffled, left, right = build(name), build(name), build(name), build(name)
    for part in parts:
        whole.update(*part)
    for k in rng.permutation(len(parts)):
        shuffled.update(*parts[k])
    for k, part in enumerate(parts):
        (left if k < 5 else right).update(*part)
    left.merge(right)
    expected = whole.compute()
    assert shuffled.compute() == expected
    assert left.compute() == expected
    assert whole.score == expected[whole.name]
    assert len(left) == len(whole) == 12
    np.testing.assert_array_equal(whole.per_class() or [], left.per_class() or [])
    for key, value in whole.per_example().items():
        assert len(value) == 12
        np.testing.assert_array_equal(value, left.per_example()[key])


def test_top1_and_mean_per_class_against_sklearn():
    scores, target = RNG.normal(size=(200, K)), RNG.integers(0, K, 200)
    metric = build("top1")
    for start in range(0, 200, 64):  # the last batch is partial
        metric.update(torch.from_numpy(scores[start : start + 64]), torch.from_numpy(target[start : start + 64]))
    found = metric.compute()
    prediction = scores.argmax(1)
    assert found["top1"] == pytest.approx(reference.accuracy_score(target, prediction), abs=1e-15)
    assert found["mean_per_class"] == pytest.approx(reference.balanced_accuracy_score(target, prediction), abs=1e-15)
    np.testing.assert_array_equal(metric.confusion(), reference.confusion_matrix(target, prediction))
    assert build("mean_per_class").name == "mean_per_class"


def test_classes_that_do_not_occur_are_left_out_of_the_mean_per_class():
    metric = build("mean_per_class")
    metric.update(np.array([0, 0, 1, 3]), np.array([0, 0, 0, 1]))
    assert metric.score == (2 / 3 + 0) / 2
    np.testing.assert_array_equal(metric.per_class(), [2 / 3, 0, math.nan, math.nan])


def test_map_against_sklearn():
    scores, target = RNG.integers(0, 20, (300, K)) / 8, RNG.integers(0, 2, (300, K))
    metric = build("map")
    metric.update(scores, target)
    expected = [reference.average_precision_score(target[:, k], scores[:, k]) for k in range(K)]
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-12)
    assert metric.score == pytest.approx(np.mean(expected), rel=1e-12)


def voc_2007(scores: np.ndarray, positive: np.ndarray) -> float:
    """The VOC 2007 development kit's loop, for scores without ties."""
    order = np.argsort(-scores)
    tp, fp = np.cumsum(positive[order]), np.cumsum(~positive[order])
    recall, precision = tp / positive.sum(), tp / (tp + fp)
    total = 0.0
    for t in np.arange(0, 1.1, 0.1):
        above = precision[recall >= t - 1e-12]
        total += (above.max() if len(above) else 0) / 11
    return total


def test_eleven_point_map_against_the_voc_loop():
    scores, target = RNG.permutation(400).reshape(100, K) / 7, RNG.integers(0, 2, (100, K))
    metric = build_metric("map", n_classes=K, points="11")
    metric.update(scores, target)
    expected = np.mean([voc_2007(scores[:, k], target[:, k] == 1) for k in range(K)])
    assert metric.score == pytest.approx(expected, rel=1e-12)
    assert np.mean(metric.per_class()) == pytest.approx(expected, rel=1e-12)


def test_map_by_hand_with_a_tie_and_a_difficult_example():
    """Class 0: right .9, wrong and right tied at .5, difficult .7 does not count: 1/2 * 1 + 1/2 * 2/3."""
    metric = build_metric("map", n_classes=2)
    metric.update(np.array([[0.9, 0], [0.5, 0], [0.5, 0], [0.7, 0]]), np.array([[1, 0], [0, 0], [1, 0], [-1, 0]]))
    assert metric.score == pytest.approx(0.5 + 0.5 * 2 / 3, rel=1e-15)
    assert math.isnan(metric.per_class()[1])
    assert metric.compute()["map_11"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11, rel=1e-15)


def test_miou_against_sklearn_jaccard():
    prediction, target = RNG.integers(0, K, (6, 9, 11)), RNG.integers(0, K, (6, 9, 11))
    target[RNG.random(target.shape) < 0.1] = 255
    metric = build("miou")
    metric.update(prediction[:4], target[:4])
    metric.update(prediction[4:], target[4:])
    valid = target != 255
    expected = reference.jaccard_score(target[valid], prediction[valid], average=None)
    np.testing.assert_allclose(metric.per_class(), expected, rtol=1e-12)
    assert metric.score == pytest.approx(expected.mean(), rel=1e-12)


def test_miou_is_of_the_data_set_and_absent_classes_do_not_count():
    """Defect 3 of the public code: it averaged image by image and gave absent classes an IoU of 1."""
    metric = build_metric("miou", n_classes=3)
    metric.update([np.array([[0, 0]]), np.array([[1, 0]])], [np.array([[0, 0]]), np.array([[0, 0]])])
    np.testing.assert_array_equal(metric.per_class(), [3 / 4, 0, math.nan])
    assert metric.score == (3 / 4 + 0) / 2  # not the mean of the images' 1 and 1/4, nor with a 1 for class 2


def test_miou_takes_scores_images_of_any_size_and_ignores_void_predictions():
    target = [np.array([[0, 1], [255, 1]]), np.array([[1, 1, 0]])]
    scores = [torch.eye(2)[torch.from_numpy(np.where(t == 255, 0, t))].permute(2, 0, 1) for t in target]
    metric = build_metric("miou", n_classes=2, ignore_index=255)
    metric.update(scores, target)
    assert metric.compute() == {"miou": 1.0, "pixel_accuracy": 1.0}
    np.testing.assert_array_equal(metric.per_example()["target"], [[1, 2], [1, 2]])


def test_l1_counts_valid_pixels_over_the_data_set():
    metric = build("neg_l1")
    metric.update(np.zeros((2, 1, 1, 2), np.float32), np.array([[[1.0, np.nan]], [[2.0, 6.0]]]))
    assert metric.compute() == {"neg_l1": -3.0, "l1": 3.0}  # (1 + 2 + 6) / 3, not the mean of 1 and 4
    np.testing.assert_array_equal(metric.per_example()["n_valid"], [1, 2])


def test_l1_accumulates_in_float64():
    metric = build("neg_l1")
    prediction = np.zeros((1, 1000, 1000), np.float32)
    target = np.full((1, 1000, 1000), 0.1, np.float32)
    for _ in range(20):
        metric.update(prediction, target)
    assert metric.score == pytest.approx(-float(np.float32(0.1)), rel=1e-13)


def test_a_prediction_that_is_not_finite_is_never_dropped():
    depth = build("neg_l1")
    depth.update(np.array([[[1.0, np.nan]]]), np.array([[[1.0, 1.0]]]))
    assert math.isnan(depth.score)
    flow = build("one_minus_all")
    flow.update(np.array([[[[0.0, np.nan]], [[0.0, 0.0]]]]), np.zeros((1, 1, 2, 2)))
    assert flow.score == 0.5
    assert math.isnan(flow.compute()["epe"])
    with pytest.raises(TrainingError, match="not finite"):
        build("top1").update(np.full((1, K), np.nan), np.array([0]))
    with pytest.raises(TrainingError, match="not finite"):
        build("miou").update(torch.full((1, K, 2, 2), torch.nan), np.zeros((1, 2, 2), int))


def test_kitti_outliers_by_hand():
    """Defect 5 of the public code. An outlier is off by more than 3 px and by more than 5 %."""
    truth = np.array([[[0, 0], [0, 0], [100, 0], [100, 0], [60, 80], [np.nan, 0]]], float)
    error = np.array([3.0, 3.01, 4.9, 5.1, 4.0, 50.0])
    prediction = np.nan_to_num(truth).transpose(2, 0, 1) + np.stack([error[None], np.zeros((1, 6))])
    metric = build("one_minus_all")
    metric.update(prediction[None], truth[None])
    found = metric.compute()
    assert found["one_minus_all"] == 3 / 5
    assert found["epe"] == pytest.approx(np.mean(error[:5]), rel=1e-12)
    assert build("neg_epe").name == "neg_epe"


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_flow_against_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    (prediction,), (truth,) = batches("one_minus_all", 1, rng)[0]
    n = outliers = 0
    total = 0.0
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            u, v = truth[y, x]
            if math.isnan(u) or math.isnan(v):
                continue
            error = math.dist((u, v), prediction[:, y, x])
            n, total = n + 1, total + error
            outliers += error > 3 and error > 0.05 * math.hypot(u, v)
    metric = build("one_minus_all")
    metric.update([prediction], [truth])
    if n == 0:
        with pytest.raises(DataError, match="No pixel"):
            metric.compute()
        return
    assert metric.score == pytest.approx(1 - outliers / n, abs=1e-12)
    assert metric.compute()["epe"] == pytest.approx(total / n, rel=1e-12)


def test_scores_repeat_from_what_each_image_adds():
    metric = build("miou")
    for part in batches("miou", 10, RNG):
        metric.update(*part)
    stats = metric.per_example()
    inter, union = stats["intersection"].sum(0), (stats["predicted"] + stats["target"] - stats["intersection"]).sum(0)
    assert metric.score == pytest.approx(np.mean(inter[union > 0] / union[union > 0]), rel=1e-12)


def test_errors_of_numbers_against_sklearn():
    guess, truth = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 3))
    truth[:, 2] = 4.0  # which never differs: no R2 of its own
    metric = build("r2")
    metric.update(torch.from_numpy(guess[:20]), truth[:20])
    metric.update(guess[20:], truth[20:])
    found = metric.compute()
    assert found["rmse"] == pytest.approx(math.sqrt(reference.mean_squared_error(truth, guess)), rel=1e-12)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(truth, guess), rel=1e-12)
    assert found["r2"] == pytest.approx(reference.r2_score(truth[:, :2], guess[:, :2]), rel=1e-12)
    flat = build("rmse")
    flat.update(guess[:, 2], truth[:, 2])
    assert "r2" not in flat.compute()
    constant = build("r2")
    constant.update(guess[:, 2], truth[:, 2])
    with pytest.raises(DataError, match="same in every example"):
        constant.compute()


def test_numbers_without_a_target_count_for_nothing():
    metric = build("mae")
    metric.update(np.array([[1.0, 5.0], [2.0, 7.0]]), np.array([[0.0, np.nan], [4.0, 7.0]]))
    assert metric.compute()["mae"] == 1.0
    with pytest.raises(UsageError, match=r"1 numbers an example, after 2"):
        metric.update(np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("name", METRICS)
def test_nothing_given_is_an_error(name):
    with pytest.raises(DataError, match="no examples"):
        build(name).compute()


def test_what_a_metric_refuses():
    with pytest.raises(DataError, match="run from 0 to 4; expected classes 0 to 3"):
        build("top1").update(np.array([0, 1]), np.array([0, 4]))
    with pytest.raises(DataError, match="run from -1"):
        build("miou").update(np.zeros((1, 2, 2), int), np.full((1, 2, 2), -1))
    with pytest.raises(UsageError, match="expected 4, one a class"):
        build("top1").update(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(UsageError, match="2 predictions for 1 targets"):
        build("neg_l1").update(np.zeros((2, 3, 3)), np.zeros((1, 3, 3)))
    with pytest.raises(UsageError, match="shape"):
        build("neg_l1").update(np.zeros((1, 3, 3)), np.zeros((1, 3, 4)))
    with pytest.raises(UsageError, match="Unknown metric 'f1'"):
        build_metric("f1")
    with pytest.raises(UsageError, match="n_classes"):
        build_metric("miou")
    with pytest.raises(UsageError, match="has no option 'points'"):
        build_metric("top1", n_classes=2, points="11")
    with pytest.raises(UsageError, match="not the same metric"):
        build("top1").merge(build("mean_per_class"))
