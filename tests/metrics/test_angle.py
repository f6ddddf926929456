"""Angles between directions against numpy's own mean and median over all pixels."""

from __future__ import annotations

import numpy as np
import pytest

from virb.errors import DataError, UsageError
from virb.metrics import build_metric


@pytest.mark.parametrize("name", ["mean_angle", "median_angle"])
def test_angles_are_those_of_turned_directions(name):
    """Directions turned by known angles about an axis across them, at any length, void left out."""
    rng = np.random.default_rng(0)
    state, angles = build_metric(name), []
    for size in ((4, 5), (3, 3), (6, 2)):
        turned = rng.uniform(0, 180, size)
        axis = rng.normal(size=(*size, 3))
        truth = np.cross(axis, rng.normal(size=3))
        beside = np.cross(axis, truth)
        unit = [v / np.linalg.norm(v, axis=2, keepdims=True) for v in (truth, beside)]
        guess = np.cos(np.radians(turned))[..., None] * unit[0] + np.sin(np.radians(turned))[..., None] * unit[1]
        truth[0, 0], truth[1, 1] = np.nan, 0
        turned[0, 0] = turned[1, 1] = np.nan
        state.update([(7 * guess).transpose(2, 0, 1)], [truth])
        angles.append(turned[np.isfinite(turned)])
    every = np.concatenate(angles)
    found = state.compute()
    assert found["mean_angle"] == pytest.approx(every.mean(), abs=1e-6)
    assert found["median_angle"] == pytest.approx(np.median(every), abs=0.051)
    for limit in (11.25, 22.5, 30):
        assert found[f"within_{limit:g}"] == pytest.approx((every < limit).mean())
    assert state.score == found[name]


def test_ends_and_faults():
    up = np.array([0.0, 0, 1])[None, None]
    for guess, angle in (([0, 0, 2], 0), ([0, 0, -1], 180), ([0, 0, 0], 90)):
        state = build_metric("mean_angle")
        state.update([np.array(guess, float)[:, None, None]], [up])
        assert state.score == pytest.approx(angle)
        assert state.compute()["median_angle"] == pytest.approx(angle, abs=0.051)
    empty = build_metric("median_angle")
    empty.update([np.ones((3, 1, 1))], [up * np.nan])
    with pytest.raises(DataError, match="No pixel"):
        empty.compute()
    with pytest.raises(UsageError, match="expected"):
        empty.update([np.ones((1, 1, 1))], [up])
