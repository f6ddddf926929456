"""Random crops: image and target stay aligned, and flow stays true, whatever the scale and the mirror."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virb.images.crops import PADDING, random_crop


def ramp(height, width):
    """An image whose red is 2x and green 3y, and its target x + 40 y."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([2 * x, 3 * y, np.full_like(x, 7)], axis=2).astype(np.uint8)
    return image, (x + 40 * y).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**20), size=st.integers(8, 60), low=st.sampled_from([0.5, 1.0, 1.7]))
def test_a_mask_stays_on_its_image(seed, size, low):
    image, target = ramp(30, 40)
    rng = np.random.default_rng(seed)
    options = {"scales": (low, 2 * low), "may_mirror": True, "ignore_index": -1}
    (crop,), mask = random_crop([image], target, size=size, rng=rng, **options)
    assert crop.shape == (size, size, 3)
    assert mask.shape == (size, size)
    valid = mask != -1
    assert valid.any()
    y, x = mask[valid] // 40, mask[valid] % 40
    # Nearest against bilinear: they differ by at most half a source pixel, plus what the window's ends round off.
    slack = 0.5 + 0.5 / low + 0.6
    assert np.abs(crop[valid][:, 0] / 2 - x).max() <= slack + 0.5
    assert np.abs(crop[valid][:, 1] / 3 - y).max() <= slack + 0.5
    assert (crop[~valid] == PADDING).all()


def test_a_crop_at_scale_one_is_a_window_of_the_source():
    image, target = ramp(30, 40)
    rng = np.random.default_rng(3)
    (crop,), mask = random_crop([image], target, size=16, scales=(1, 1), may_mirror=False, rng=rng)
    top, left = mask[0, 0] // 40, mask[0, 0] % 40
    np.testing.assert_array_equal(crop, image[top : top + 16, left : left + 16])
    np.testing.assert_array_equal(mask, target[top : top + 16, left : left + 16])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_flow_leads_from_one_frame_to_the_other_after_any_crop(seed):
    """Frame b is frame a moved 3 px right and 2 px down: b(x + u, y + v) = a(x, y) must hold in the crop too."""
    y, x = np.mgrid[:48, :64].astype(float)

    def look(x, y):
        return np.stack([3 * x, 4 * y, 0 * x], axis=2).clip(0, 255).astype(np.uint8)

    a, b = look(x + 4, y + 4), look(x + 1, y + 2)
    flow = np.broadcast_to(np.array([3.0, 2.0], np.float32), (48, 64, 2)).copy()
    flow[0, 0] = np.nan
    rng = np.random.default_rng(seed)
    (crop_a, crop_b), found = random_crop([a, b], flow, size=32, scales=(0.8, 1.6), may_mirror=True, rng=rng)
    rows, columns = np.nonzero(np.isfinite(found).all(axis=2))
    u, v = found[rows, columns].T
    to_x, to_y = np.rint(columns + u).astype(int), np.rint(rows + v).astype(int)
    inside = (to_x >= 1) & (to_x < 31) & (to_y >= 1) & (to_y < 31) & (columns > 0) & (rows > 0)
    inside &= (columns < 31) & (rows < 31)
    difference = crop_b[to_y[inside], to_x[inside]].astype(int) - crop_a[rows[inside], columns[inside]]
    assert inside.sum() > 300
    assert np.abs(difference[:, 0]).max() <= 3 / 0.8 * 0.5 + 3  # half a pixel of rounding, and that of resizing
    assert np.abs(difference[:, 1]).max() <= 4 / 0.8 * 0.5 + 3


def test_a_mirror_turns_u_round_and_nothing_else():
    image = np.zeros((8, 8, 3), np.uint8)
    flow = np.full((8, 8, 2), 5, np.float32)
    signs = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, found = random_crop([image], flow, size=8, scales=(1, 1), may_mirror=True, rng=rng)
        signs.add(tuple(found[0, 0].tolist()))
    assert signs == {(5.0, 5.0), (-5.0, 5.0)}


def test_small_images_are_padded_without_a_target():
    image, _ = ramp(4, 6)
    depth = np.full((4, 6), 2.5, np.float32)
    rng = np.random.default_rng(0)
    (crop,), found = random_crop([image], depth, size=10, scales=(1, 1), may_mirror=False, rng=rng)
    np.testing.assert_array_equal(crop[:4, :6], image)
    np.testing.assert_array_equal(found[:4, :6], depth)
    assert np.isnan(found[4:]).all()
    assert np.isnan(found[:, 6:]).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_generator_decides(seed):
    image, target = ramp(30, 40)
    options = {"size": 12, "scales": (0.5, 2), "may_mirror": True}
    first = random_crop([image], target, rng=np.random.default_rng(seed), **options)
    again = random_crop([image], target, rng=np.random.default_rng(seed), **options)
    other = random_crop([image], target, rng=np.random.default_rng(seed + 10), **options)
    np.testing.assert_array_equal(first[0][0], again[0][0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
