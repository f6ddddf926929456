"""Score against distance where sources and targets have effects: under the null, with power, by all permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from virb.errors import ScoresError
from virb.stats.distances import transfer_affinity
from virb.stats.dyads import affinity


def study(s: int, t: int, rng: np.random.Generator, *, slope: float = 0.0, source: float = 1.0):
    def effects(own: float) -> np.ndarray:
        return own * rng.normal(size=(s, 1)) + rng.normal(size=(1, t)) + 0.5 * rng.normal(size=(s, t))

    distance = effects(source)
    return pd.DataFrame(effects(source) - slope * distance), pd.DataFrame(distance)


@pytest.mark.parametrize("source", [1.0, 0.0])
@pytest.mark.parametrize(("s", "t"), [(4, 10), (3, 6)])
def test_unrelated_distances_are_found_related_as_often_as_said(s: int, t: int, source: float) -> None:
    rng = np.random.default_rng(0)
    found = [affinity(*study(s, t, rng, source=source), samples=199).pvalue <= 0.05 for _ in range(400)]
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(found) >= 0.01


def test_permuted_within_targets_they_are_found_one_time_in_two() -> None:
    """The failure that this test is for: were it gone, the one above would have no force."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        y, d = study(4, 10, rng)
        target = np.tile(np.arange(10), 4)
        found.append(transfer_affinity(y.to_numpy().ravel(), d.to_numpy().ravel(), target, samples=199).pvalue <= 0.05)
    assert np.mean(found) > 0.35


def test_a_slope_is_found() -> None:
    rng = np.random.default_rng(1)
    found = [affinity(*study(6, 10, rng, slope=0.5), samples=199) for _ in range(100)]
    assert np.mean([one.pvalue <= 0.05 for one in found]) > 0.7
    assert np.mean([one.slope for one in found]) < 0


def test_p_is_the_share_of_all_permutations_of_targets() -> None:
    y, d = study(3, 4, np.random.default_rng(2))
    found = affinity(y, d)

    def centred(x: np.ndarray) -> np.ndarray:
        return x - x.mean(0) - x.mean(1)[:, None] + x.mean()

    a, b = centred(y.to_numpy() / y.to_numpy().std(0)), centred(d.to_numpy())
    drawn = [abs((a * b[:, list(order)]).sum()) for order in itertools.permutations(range(4))]
    assert found.exact
    assert found.pvalue == pytest.approx(np.mean(np.array(drawn) >= abs((a * b).sum()) - 1e-12))
    assert found.least_p == pytest.approx(1 / 24)


def test_no_unit_decides() -> None:
    y, d = study(4, 8, np.random.default_rng(3))
    percent = y.copy()
    percent[2] *= 100
    assert affinity(percent, d).pvalue == affinity(y, d).pvalue
    assert affinity(percent, d).slope == pytest.approx(affinity(y, d).slope)


def test_refusals() -> None:
    y, d = study(3, 4, np.random.default_rng(0))
    with pytest.raises(ScoresError, match="found 3 and 2"):
        affinity(y[[0, 1]], d[[0, 1]])
    with pytest.raises(ScoresError, match="missing"):
        affinity(y.mask(y == y.iloc[0, 0]), d)
    with pytest.raises(ScoresError, match="no slope"):
        affinity(y, d * 0 + np.arange(3)[:, None] + np.arange(4))
