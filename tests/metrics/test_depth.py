"""Errors of depth against a loop over pixels, whatever the batches and their order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from virb.errors import DataError, TrainingError, UsageError
from virb.metrics import build_metric

NAMES = ("depth_rmse", "abs_rel", "delta1", "delta2", "delta3", "silog")


def looped(images):
    """All numbers over the pixels of ``images``, a list of (prediction, target), one pixel at a time."""
    squared, relative, logs, within, n = 0.0, 0.0, [], [0, 0, 0], 0
    for d, t in ((d, t) for guess, truth in images for d, t in zip(guess.ravel(), truth.ravel(), strict=True)):
        if math.isnan(t) or not 0.001 < t < 9:
            continue
        d = min(max(float(d), 0.001), 9.0)
        n += 1
        squared += (d - t) ** 2
        relative += abs(d - t) / t
        logs.append(math.log(d / t))
        for k in (1, 2, 3):
            within[k - 1] += max(d / t, t / d) < 1.25**k
    deviation = math.sqrt(sum((e - sum(logs) / n) ** 2 for e in logs) / n)
    return dict(
        zip(NAMES, (math.sqrt(squared / n), relative / n, *(w / n for w in within), 100 * deviation), strict=True)
    )


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    found = []
    for size in ((5, 7), (3, 4), (6, 6)):
        truth = rng.uniform(0.5, 10, size)
        guess = truth * rng.uniform(0.6, 1.8, size)
        truth[0, 0], truth[1, 1], guess[2, 2] = np.nan, 0, -1
        found.append((guess, truth))
    return found


@pytest.mark.parametrize("name", [*NAMES, "depth_rmse_image", "silog_image"])
def test_depth_errors_are_those_of_a_loop_over_pixels(images, name):
    wanted, each = looped(images), [looped([image]) for image in images]
    state, parts = build_metric(name, cap=9), [build_metric(name, cap=9) for _ in range(2)]
    for k, (guess, truth) in enumerate(images):
        state.update([guess], [truth])
        parts[k % 2].update([guess[None]], [truth])
    parts[1].merge(parts[0])
    found = state.compute()
    for key in NAMES:
        assert found[key] == pytest.approx(wanted[key], rel=1e-9)
        assert found[f"{key}_image"] == pytest.approx(np.mean([image[key] for image in each]), rel=1e-9)
    assert state.score == found[name]
    assert parts[1].compute() == pytest.approx(found, rel=1e-12)
    kept = state.per_example()
    assert math.sqrt(kept["sum_squared_error"].sum() / kept["n_valid"].sum()) == pytest.approx(found["depth_rmse"])


def test_a_scale_alone_is_no_scale_invariant_error(images):
    state = build_metric("silog")
    state.update([truth * 3 for _, truth in images], [truth for _, truth in images])
    assert state.score == pytest.approx(0, abs=1e-5)
    assert state.compute()["abs_rel"] == pytest.approx(2)


def test_images_without_a_target_count_for_nothing_and_faults_are_said(images):
    state, other = build_metric("depth_rmse"), build_metric("depth_rmse")
    for guess, truth in images:
        state.update([guess], [truth])
        other.update([guess, guess], [truth, np.full_like(truth, np.nan)])
    assert state.compute() == pytest.approx(other.compute())
    empty = build_metric("abs_rel")
    with pytest.raises(DataError, match="no examples"):
        empty.compute()
    empty.update([np.ones((2, 2))], [np.zeros((2, 2))])
    with pytest.raises(DataError, match="No pixel"):
        empty.compute()
    with pytest.raises(UsageError, match="expected"):
        empty.update([np.ones((3, 2, 2))], [np.ones((2, 2))])
    with pytest.raises(TrainingError):
        empty.update([np.full((2, 2), np.nan)], [np.ones((2, 2))])
    with pytest.raises(DataError, match="leaves no target"):
        build_metric("silog", cap=0.0001)
