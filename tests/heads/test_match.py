"""Correspondence by nearest neighbours: on ramps whose features are their own positions, and through the whole path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.heads import build_head
from virb.images.sets import ArrayImages
from virb.metrics import build_metric


def places(size, stride, offset, shift=(0, 0)):
    """A map of one image whose features grow with the place: linear, so that they are exact between cells too."""
    n = [-(-side // stride) for side in size]
    y = torch.arange(n[0])[:, None] * stride + offset - shift[1]
    x = torch.arange(n[1])[None, :] * stride + offset - shift[0]
    # On a sphere the nearest by cosine is the nearest place.
    angle = torch.stack(
        [
            torch.sin(x / 99.0) + 0 * y,
            torch.cos(x / 99.0) + 0 * y,
            torch.sin(y / 99.0) + 0 * x,
            torch.cos(y / 99.0) + 0 * x,
        ]
    )
    return angle[None]


@pytest.mark.parametrize(("stride", "offset"), [(8, 3.5), (8, 0), (16, 7.5), (14, 6.5)])
@pytest.mark.parametrize("size", [(160, 192), (150, 217)])
def test_a_moved_image_is_found_to_half_a_cell(stride, offset, size):
    head = build_head("match", n_out=2, channels=(4,), strides=(stride,), offsets=(offset,), n_frames=2)
    shift = (stride, -stride)  # right and up, by whole cells
    first, second = places(size, stride, offset), places(size, stride, offset, shift)
    flow = head([first], [second], size)[0]
    assert flow.shape == (2, *size)
    inner = flow[:, 2 * stride : -2 * stride, 2 * stride : -2 * stride]
    error = (inner - torch.tensor(shift, dtype=torch.float32)[:, None, None]).abs()
    assert error.max() <= stride / 2 + 0.75
    assert (inner.mean((1, 2)) - torch.tensor(shift, dtype=torch.float32)).abs().max() < 1  # no shift of half a cell


def test_it_has_nothing_to_learn_and_answers_in_the_pixels_of_the_target(tmp_path):
    def moved(context: DataContext, split: str) -> Examples:
        rng = np.random.default_rng(split == "test")
        wide = np.repeat(np.repeat(rng.integers(0, 256, (6, 8, 10, 3)), 16, 1), 16, 2).astype(np.uint8)
        images = np.stack([wide[:, :, 16:144], wide[:, :, :128]], axis=1).reshape(12, 128, 128, 3)
        flow = np.full((6, 128, 128, 2), np.nan, np.float32)  # twice as fine as what the encoder sees
        flow[:, 7::16, 7:112:16] = (16, 0)  # the middles of cells
        return Examples(
            ArrayImages.of(f"moved {split}", images), np.arange(12).reshape(6, 2), flow, [str(k) for k in range(6)]
        )

    task = Task(
        "moved", "s", Category.STRUCTURAL_PIXEL, "match", "l1", "pck", moved, Protocol(epochs=1), n_frames=2,
        quantity="flow", options={"out_channels": 2, "stride": 8, "alpha": 0.05},
    )  # fmt: skip
    table = virb.evaluate("pixels:8:size=64", task, out=tmp_path / "results", data=DataContext(cache=tmp_path))
    assert table["score"][0] > 0.7  # nearly none within 6.4 px, were its motions half as long
    assert table["chance"][0] is not None


def test_pck_by_hand():
    truth = np.full((2, 10, 20, 3), np.nan)
    truth[0, 2, 3], truth[0, 4, 5], truth[1, 1, 1] = (4, 0, 30), (0, 4, 10), (0, 0, 100)
    guess = np.zeros((2, 2, 10, 20))
    guess[0, :, 2, 3] = (1.5, 0)  # 2.5 off, below a tenth of 30
    guess[0, :, 4, 5] = (0, 3)  # 1.0 off, not below a tenth of 10
    guess[1, :, 1, 1] = (6, 8)  # 10 off, not below a tenth of 100
    state = build_metric("pck")
    state.update(guess, truth)
    assert state.compute() == {"pck": 0.25, "pck_point": pytest.approx(1 / 3)}
    other = build_metric("pck", alpha=0.2)
    other.update(guess, truth[..., :2])  # below .2 x 20 = 4 px
    assert other.compute() == {"pck": 0.5, "pck_point": pytest.approx(2 / 3)}


@pytest.mark.parametrize(("stride", "offset"), [(8, 3.5), (8, 0), (14, 6.5)])
def test_a_point_is_found_where_its_pixel_is(stride, offset):
    size = (112, 126)
    head = build_head("match", n_out=2, channels=(4,), strides=(stride,), offsets=(offset,), n_frames=2)
    first, second = places(size, stride, offset), places(size, stride, offset, (stride, -stride))
    whole = head([first], [second], size)[0]
    points = torch.tensor([[40.0, 50.0], [0, 0], [125, 111], [77, 3]])
    found = head.at([first[0]], [second[0]], size, points)
    wanted = torch.stack([whole[:, int(y), int(x)] + torch.stack([x, y]) for x, y in points])
    torch.testing.assert_close(found, wanted)
    between = head.at([first[0]], [second[0]], size, torch.tensor([[50.4, 60.6]]))[0]  # no pixel, and no mean of four
    assert ((between - offset) % stride == 0).all()
