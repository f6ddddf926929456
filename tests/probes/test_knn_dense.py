"""Segmentation by nearest cells: against plain loops, with void kept out, in a bounded memory, and through virb.evaluate."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.probe import Setup, Source
from virb.contracts.task import Category, Protocol, Task
from virb.errors import DataError, UsageError
from virb.images.geometry import Grid
from virb.images.sets import ArrayImages
from virb.probes import knn_dense

VOID = 9
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("stride", "offset", "size", "target"),
    [
        (8, 3.5, (32, 32), (32, 32)),  # patches
        (8, 3.5, (30, 27), (30, 27)),  # padded to whole patches
        (8, 0.0, (33, 25), (33, 25)),  # convolutions
        (8, 3.5, (32, 32), (44, 20)),  # an image that was resized
    ],
)
def test_a_pixel_counts_in_the_cell_that_it_lies_in(stride, offset, size, target):
    rng = np.random.default_rng(0)
    mask = rng.choice([0, 1, 2, VOID], target).astype(np.uint8)
    shape = tuple(-(-side // stride) for side in size)
    expected = np.zeros((*shape, 3), int)
    centres = [offset + stride * np.arange(n) for n in shape]
    for y in range(target[0]):
        for x in range(target[1]):
            where = ((y + 0.5) * size[0] / target[0] - 0.5, (x + 0.5) * size[1] / target[1] - 0.5)
            # Half way between two cells of convolutions it counts in the later one.
            cell = tuple(len(c) - 1 - int(np.abs(c - at)[::-1].argmin()) for c, at in zip(centres, where, strict=True))
            if mask[y, x] != VOID:
                expected[(*cell, mask[y, x])] += 1
    found = knn_dense.cell_counts(mask, Grid.of(stride, offset), shape, size, n_classes=3, ignore_index=VOID)
    np.testing.assert_array_equal(found, expected.reshape(-1, 3))


def test_rare_classes_enter_first_and_cells_without_a_class_never():
    counts = np.zeros((40, 3), int)
    counts[:30, 0] = 5
    counts[30:32, 1] = 5
    counts[32, [0, 2]] = 1  # of cells 33 to 39 no pixel has a class
    seen = [knn_dense.kept_cells(counts, 4, np.random.default_rng(k)) for k in range(50)]
    assert all(len(rows) == 4 for rows in seen)
    assert max(rows.max() for rows in seen) <= 32
    assert np.mean([{30, 31} <= set(rows) for rows in seen]) > 0.3  # of 33 cells four by chance hold both with .01
    np.testing.assert_array_equal(knn_dense.kept_cells(counts, 99, np.random.default_rng(0)), np.arange(33))
    rng = np.random.default_rng(3)
    draws = np.random.default_rng(3).random(33)
    by_hand = []
    for k in range(33):
        total = sum(int((counts[:33, c] > 0).sum()) for c in range(3) if counts[k, c])
        by_hand.append(total * draws[k])
    np.testing.assert_array_equal(knn_dense.kept_cells(counts, 6, rng), np.sort(np.argsort(by_hand)[:6]))


class Maps:
    """A source of maps of 4 x 4 cells and masks of 32 x 32 pixels."""

    def __init__(self, seed, n=6, channels=5):
        draw = torch.Generator().manual_seed(seed)
        self.n = n
        self.maps = torch.randn(n, channels, 4, 4, generator=draw).half().float()
        self.masks = np.random.default_rng(seed).choice([0, 1, 2, VOID], (n, 32, 32)).astype(np.uint8)

    def batch(self, rows, epoch):
        return [[self.maps[rows]]], list(self.masks[rows]), (32, 32)


ENCODER = SimpleNamespace(strides_at=lambda stride: (8,), offsets_at=lambda stride: (3.5,))


def predict(train, test, seed=0, **options):
    problem = SimpleNamespace(n_out=3, ignore_index=VOID)
    setup = Setup(Source(ENCODER, None, pixels=train), seed, Protocol(epochs=1), options)
    (found,) = knn_dense.fit(problem, [setup], CPU, lambda done, total: None)
    outputs, _ = found.outputs(Source(ENCODER, None, pixels=test), np.arange(test.n), lambda done, total: None)
    return torch.stack(outputs), found.protocol


@pytest.mark.parametrize("options", [{}, {"k": 3, "temperature": 0.2}, {"k": 1000}])
def test_cells_take_the_softmax_weighted_mean_of_the_nearest_ones(options):
    train, test = Maps(0), Maps(1, n=2)
    found, protocol = predict(train, test, **options)
    memory, shares = [], []
    for image, mask in zip(train.maps, train.masks, strict=True):
        for y in range(4):
            for x in range(4):
                part = mask[8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
                part = part[part != VOID]
                memory.append(image[:, y, x] / image[:, y, x].norm())
                shares.append([float((part == c).mean()) for c in range(3)])
    memory, shares = torch.stack(memory), torch.tensor(shares)
    k, temperature = options.get("k", 30), options.get("temperature", 0.02)
    cells = torch.zeros(2, 3, 4, 4)
    for i, image in enumerate(test.maps):
        for y in range(4):
            for x in range(4):
                cosine = memory @ (image[:, y, x] / image[:, y, x].norm())
                best = cosine.argsort(descending=True)[:k]
                weights = (cosine[best] / temperature).softmax(0)
                cells[i, :, y, x] = weights @ shares[best]
    expected = F.interpolate(cells, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 32, 32), atol=1e-4, rtol=0)
    assert protocol["memory_patches"] == 96
    assert protocol["k"] == min(k, 96)


def test_void_never_enters_the_memory():
    """What stands under void changes nothing, and where there is nothing else it is an error."""
    train, test = Maps(0), Maps(1, n=2)
    train.masks[:, :8, :16] = VOID  # two cells of each image
    before, protocol = predict(train, test)
    assert protocol["memory_patches"] == 96 - 12
    train.maps[:, :, 0, :2] = test.maps[0, :, 0, :1]  # they would be the nearest of all
    after, _ = predict(train, test)
    assert torch.equal(before, after)
    train.masks[:] = VOID
    with pytest.raises(DataError, match="No pixel of the training targets has a class"):
        predict(train, test)


def test_the_memory_is_bounded_and_its_choice_is_the_seeds():
    train, test = Maps(0), Maps(1, n=2)
    one, protocol = predict(train, test, memory_patches=18)
    assert (protocol["memory_patches"], protocol["memory_patches_at_most"]) == (18, 18)
    assert torch.equal(one, predict(train, test, memory_patches=18)[0])
    assert not torch.equal(one, predict(train, test, seed=1, memory_patches=18)[0])
    assert predict(train, test, memory_patches=4)[1]["memory_patches"] == 4  # of six images four have one each


def squares(n, seed):
    """Images with one light square on dark noise, its mask, and void along its border."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (n, 40, 56, 3), dtype=np.uint8)
    masks = np.zeros((n, 40, 56), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        y, x = rng.integers(2, 20), rng.integers(2, 30)
        image[y : y + 18, x : x + 18] += 150
        mask[y - 2 : y + 20, x - 2 : x + 20] = 255
        mask[y : y + 18, x : x + 18] = 1
    return Examples(ArrayImages.of(f"squares {seed}", images), np.arange(n)[:, None], masks, [str(k) for k in range(n)])


@pytest.mark.parametrize("crop", [{}, {"crop": 48, "crop_mirror": True, "short_side": 48}])
def test_it_segments_through_virb_evaluate(crop, tmp_path):
    task = Task(
        name="squares",
        summary="which pixels are light",
        category=Category.SEMANTIC_PIXEL,
        head="deeplabv3plus",
        loss="cross_entropy",
        metric="miou",
        data=lambda context, split: squares(12 if split == "train" else 4, int(split == "test")),
        classes=("dark", "light"),
        protocol=Protocol(epochs=1, **crop),
        options={"ignore_index": 255},
    )
    run = {
        "data": DataContext(cache=tmp_path / "cache"),
        "out": tmp_path / "results",
        "probe": "knn-dense",
        "device": "cpu",
    }
    encoder = "random:vit:dim=48,depth=1,heads=2,hidden=48,patch=8,image_size=48,size=48"
    (row,) = virb.evaluate(encoder, [task], **run).to_dict("records")
    assert row["probe"] == "knn-dense"
    assert row["score"] > 0.7
    assert row["score"] > row["chance"] + 0.2
    with pytest.raises(UsageError, match=r'knn-dense" chooses no k'):
        virb.evaluate(encoder, [task], k="auto", **run)
    with pytest.raises(UsageError, match='knn-dense" has no epochs'):
        virb.evaluate(encoder, [task], epochs=3, **run)
