"""The F measure of outlines: by hand, and against dilation by discs as DAVIS's code does it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from virb.metrics import build_metric
from virb.metrics.boundary_f import boundary, f_measure


def plain(found, true, radius):
    size = int(radius)
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    disc = x**2 + y**2 <= radius**2
    precision = (found & binary_dilation(true, disc)).sum() / found.sum()
    recall = (true & binary_dilation(found, disc)).sum() / true.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_it_is_dilation_by_discs():
    rng = np.random.default_rng(0)
    for radius in (1, 2, 5):
        found, true = rng.random((2, 40, 50)) < 0.01
        assert f_measure(found, true, radius) == pytest.approx(plain(found, true, radius))


def test_an_outline_is_davis_s():
    mask = np.zeros((6, 6), bool)
    mask[2:4, 2:4] = True
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:4] = True
    expected[2, 2] = False  # its right, lower and diagonal neighbours are all inside
    assert np.array_equal(boundary(mask), expected)
    mask = np.zeros((4, 4), bool)
    mask[:, 2:] = True  # up to the image's end, which is no outline
    assert boundary(mask).sum(0).tolist() == [0, 4, 0, 0]


def test_a_shift_counts_within_the_tolerance_alone():
    target = np.zeros((1, 100, 100), np.uint8)
    target[:, :, 50:] = 1
    moved = np.roll(target, 2, axis=2)
    moved[:, :, :2] = 0
    for shift, score in ((2, 1.0), (3, 0.0)):
        guess = np.zeros_like(target)
        guess[:, :, 50 + shift :] = 1
        state = build_metric("boundary_f", n_classes=3)  # ceil(.008 x 141.4) = 2 px
        state.update(guess, target)
        assert state.compute()["boundary_f"] == score
        assert math.isnan(state.per_class()[2])


def test_classes_of_one_side_score_nothing_and_void_has_no_outline():
    target = np.zeros((1, 40, 40), np.uint8)
    target[:, 10:20] = 1
    guess = np.zeros_like(target)
    state = build_metric("boundary_f", n_classes=2)
    state.update(guess, target)
    assert state.compute()["boundary_f"] == 0.0
    target[:, 10:20] = 255
    guess[:, 12:15] = 1  # inside of what has no target
    state = build_metric("boundary_f", n_classes=2, ignore_index=255)
    state.update(guess, target)
    assert np.isnan(state.per_example()["boundary_f"]).all()
