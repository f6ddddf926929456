"""What a prediction that looks at no image scores: by hand for each kind of target, and beside every record."""

from __future__ import annotations

import numpy as np
import pytest

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.evaluation.blind import blind_score
from virb.evaluation.parts import parts_of
from virb.images.sets import ArrayImages
from virb.records.columns import row
from virb.records.store import ResultStore


def examples(targets, n_frames=1):
    n = len(targets)
    images = np.zeros((n * n_frames, 8, 8, 3), np.uint8)
    return Examples(
        ArrayImages.of("blank", images),
        np.arange(n * n_frames).reshape(n, n_frames),
        targets,
        [str(k) for k in range(n)],
    )


def task(category, head, loss, metric, **more):
    return Task("t", "s", category, head, loss, metric, lambda context, split: None, Protocol(epochs=1), **more)


def blind(train, test, *args, **more):
    return blind_score(parts_of(task(*args, **more)), examples(train), examples(test))


PIXEL = Category.STRUCTURAL_PIXEL


def test_the_median_map_of_depths():
    near, far = np.full((4, 6), 1.0), np.full((4, 6), 5.0)
    near[:, 3:], far[:, 3:] = 3.0, 3.5
    train = np.stack([near, near, far]).astype(np.float32)
    train[2, 0, 0] = np.nan
    found = blind(train, train[2:], PIXEL, "unet", "l1", "neg_l1", quantity="depth")
    # 4 of the left half's 12 pixels are off by 4 (one is void), the right half's by .5.
    assert found == {"name": "median map", "score": pytest.approx(-(11 * 4.0 + 12 * 0.5) / 23), "ceiling": 0.0}


def test_the_majority_of_masks_by_place_or_over_all():
    top = np.zeros((6, 6), np.uint8)
    top[:2] = 1
    args = (Category.SEMANTIC_PIXEL, "deeplabv3plus", "cross_entropy", "miou")
    found = blind(np.stack([top] * 3), np.stack([top] * 2), *args, classes=2)
    assert found == {"name": "majority map", "score": 1.0, "ceiling": 1.0}
    # Void in one place of train: the commonest class of all stands there.
    void = np.stack([top] * 3)
    void[:, 5, 5] = 255
    assert blind(void, np.stack([top]), *args, classes=2, options={"ignore_index": 255})["score"] == 1.0


def test_flow_and_directions():
    flow = np.zeros((2, 8, 8, 2), np.float32)
    flow[0], flow[1] = [30, 0], [-30, 0]
    found = blind(
        flow,
        np.concatenate([flow, 0 * flow]),
        PIXEL,
        "unet",
        "l1",
        "neg_epe",
        quantity="flow",
        options={"out_channels": 2},
    )
    assert (
        found == {"name": "zero flow", "score": pytest.approx(-15.0), "ceiling": 0.0} or found["name"] == "median map"
    )
    up = np.zeros((2, 4, 4, 3), np.float32)
    up[..., 1] = 1
    away = np.zeros_like(up)
    away[..., 2] = 1
    made = blind(up, away, PIXEL, "unet", "l1", "mean_angle", quantity="direction", options={"out_channels": 3})
    assert made["score"] == pytest.approx(90)
    assert made["ceiling"] == 0.0


def test_targets_of_several_sizes():
    rng = np.random.default_rng(0)
    depths = [np.full((h, w), 2.0, np.float32) for h, w in rng.integers(5, 300, (6, 2))]
    assert blind(depths, depths, PIXEL, "unet", "l1", "neg_l1", quantity="depth")["score"] == pytest.approx(
        0.0, abs=1e-6
    )


def test_classes_labels_and_numbers():
    image = Category.SEMANTIC_IMAGE
    common = blind(np.array([2, 2, 1]), np.array([0, 2, 2, 2]), image, "linear", "cross_entropy", "top1", classes=3)
    assert common["score"] == 0.75
    labels = blind(np.array([[1, 0], [1, -1]]), np.array([[1, 0], [0, 1]]), image, "linear", "bce", "map", classes=2)
    assert labels["score"] == 0.5
    mean = blind(np.array([[1.0], [3.0]]), np.array([[2.0], [6.0]]), image, "linear", "l2", "mae")
    assert mean == {"name": "mean", "score": 2.0, "ceiling": 0.0}


def test_nothing_is_said_of_targets_that_are_all_void():
    void = np.full((2, 4, 4), np.nan, np.float32)
    assert blind(void, void, PIXEL, "unet", "l1", "neg_l1", quantity="depth") is None


def test_it_stands_beside_the_score_and_in_the_table(tmp_path):
    def data(context: DataContext, split: str) -> Examples:
        rng = np.random.default_rng(split == "test")
        targets = rng.integers(0, 3, 12)
        images = (targets[:, None, None, None] * 60 + rng.integers(0, 9, (12, 8, 8, 3))).astype(np.uint8)
        return Examples(ArrayImages.of(split, images), np.arange(12)[:, None], targets, [str(k) for k in range(12)])

    one = Task(
        "greys", "s", Category.SEMANTIC_IMAGE, "linear", "cross_entropy", "top1", data, Protocol(epochs=2), classes=3
    )
    table = virb.evaluate("pixels:2:size=8", one, out=tmp_path / "out", data=DataContext(cache=tmp_path))
    (record,) = ResultStore(tmp_path / "out").records()
    train, test = (np.asarray(data(DataContext(), split).targets) for split in ("train", "test"))
    assert record["blind"]["score"] == pytest.approx((test == np.bincount(train).argmax()).mean())
    assert table["chance"][0] == record["blind"]["score"]
    assert table["skill"][0] == pytest.approx((record["score"] - table["chance"][0]) / (1 - table["chance"][0]))
    del record["blind"]
    assert row(record)["chance"] is None
