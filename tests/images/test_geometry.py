"""Maps on grids: a map whose values are its cells' places says the right place wherever it is brought."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.images.geometry import PIXELS, Axis, Grid, centred, grids, resample

strides = st.sampled_from([0.5, 0.875, 1, 2, 4, 7, 8, 14, 16, 32])
offsets = st.sampled_from([-0.5, 0, 0.5, 1.5, 3, 6.5, 7.5, 15.5])


def places(axis: Axis, n: int) -> torch.Tensor:
    return axis.offset + axis.stride * torch.arange(n, dtype=torch.float64)


def ramp(grid: Grid, h: int, w: int) -> torch.Tensor:
    """A map (1, 2, h, w) of its cells' rows and columns in the image."""
    rows, columns = places(grid.rows, h), places(grid.columns, w)
    return torch.stack([rows[:, None].expand(h, w), columns[None].expand(h, w)])[None]


@settings(max_examples=150, deadline=None)
@given(strides, strides, offsets, strides, offsets, st.integers(1, 20), st.integers(1, 20), st.integers(1, 50))
def test_a_ramp_is_itself_on_every_grid(s_rows, s_columns, o, t, o_target, h, w, n):
    source, target = Grid(Axis(s_rows, o), Axis(s_columns, o)), Grid.of(t, o_target)
    found = resample(ramp(source, h, w), source, target, (n, n + 1))[0]
    assert found.shape == (2, n, n + 1)
    wanted = ramp(target, n, n + 1)[0]
    # Beyond the first and the last cell it goes on as it ends.
    wanted[0].clamp_(*(float(v) for v in (places(source.rows, h)[0], places(source.rows, h)[-1])))
    wanted[1].clamp_(*(float(v) for v in (places(source.columns, w)[0], places(source.columns, w)[-1])))
    if source == target:
        return  # below, where numbers are as they were
    torch.testing.assert_close(found, wanted, atol=1e-6 * max(s_rows, s_columns) * 50, rtol=0)


def test_a_map_on_its_own_grid_keeps_its_numbers_and_is_cut_or_goes_on():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    assert torch.equal(resample(x, PIXELS, PIXELS, (2, 4)), x[..., :2, :])
    longer = resample(x, PIXELS, PIXELS, (3, 6))
    assert torch.equal(longer[..., :4], x)
    assert torch.equal(longer[..., 4:], x[..., 3:].expand(1, 1, 3, 2))


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
def test_whole_patches_give_the_numbers_that_torch_gives(patch):
    x = torch.randn(2, 3, 4, 5)
    found = resample(x, Grid.of(patch, (patch - 1) / 2), PIXELS, (4 * patch, 5 * patch))
    assert torch.equal(found, F.interpolate(x, size=(4 * patch, 5 * patch), mode="bilinear", align_corners=False))


@pytest.mark.parametrize(("size", "to"), [((64, 64), (100, 37)), ((33, 50), (33, 128)), ((224, 224), (60, 61))])
def test_a_resized_image_has_its_pixels_where_the_resize_put_them(size, to):
    image = ramp(PIXELS, *to).float()
    smaller = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
    back = resample(smaller, PIXELS, Grid.resized(size, to), to)[0]
    inner = tuple(slice(2 * -(-t // s), t - 2 * -(-t // s)) for s, t in zip(size, to, strict=True))
    assert (back - image[0])[:, inner[0], inner[1]].abs().max() < 0.01


def test_gradients_pass_through_every_way():
    for source, target in (((16, 7.5), (1, 0)), ((16, 0), (4, 0)), ((16, 3), (5, 1))):
        x = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda v, s=source, t=target: resample(v, Grid.of(*s), Grid.of(*t), (9, 7)), x)


def test_grids_of_a_pyramid():
    assert centred((2, 4, 14)) == (0.5, 1.5, 6.5)
    assert [grid.rows for grid in grids((4, 8), (0, 3.5))] == [Axis(4, 0), Axis(8, 3.5)]
    patch, sampled, fine = Grid.of(16, 7.5), Grid.of(16, 0), Grid.of(4, 0)
    assert patch.divided(16, PIXELS) == PIXELS
    assert sampled.divided(4, fine) == fine
    assert patch.divided(2, Grid.of(8, 3.5)) == Grid.of(8, 3.5)
    assert np.isclose(Grid.of(14, 6.5).divided(16, PIXELS).rows.edge, -0.5)
