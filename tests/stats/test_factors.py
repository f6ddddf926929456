"""Axes of tasks: the paper's table, simulated axes, rotations, and what families make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from virb.errors import ScoresError
from virb.stats.agreement import agreement, standings
from virb.stats.factors import axes, bi_cross_validation, eigenvalues, family_means, parallel_analysis, varimax

PUBLISHED = Path(__file__).parents[2] / "analysis" / "papers" / "tables"


def test_hammouds_table_2_has_two_axes_by_the_mean_and_one_by_the_95th_percentile() -> None:
    table = pd.read_csv(PUBLISHED / "hammoud_table2.csv")
    x = table[["ImageNet", "Cars", "Flowers", "Pets", "Places", "Food"]].to_numpy(float)
    assert x.shape == (20, 6)
    found = parallel_analysis(x, samples=800)
    assert np.allclose(found.eigenvalues, [3.766, 1.569, 0.519, 0.065, 0.057, 0.025], atol=6e-4)
    assert np.allclose(found.mean, [1.822, 1.383, 1.07, 0.81, 0.57, 0.34], atol=0.03)
    assert np.allclose(found.bound, [2.177, 1.608, 1.24, 0.97, 0.75, 0.51], atol=0.05)
    assert (found.n_by_mean, found.n_axes, found.n) == (2, 1, 20)


def two_axes(n: int = 40, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = rng.normal(size=(n, 2))
    return np.concatenate(
        [place[:, [0]] + 0.4 * rng.normal(size=(n, 5)), place[:, [1]] + 0.4 * rng.normal(size=(n, 4))], axis=1
    )


def test_two_axes_are_found_placed_and_held_out() -> None:
    x = two_axes()
    assert parallel_analysis(x).n_axes == 2
    errors = bi_cross_validation(x)
    assert errors[2] < 0.6 * errors[1] < errors[0]
    found = axes(x, 2)
    assert (found.loadings[:5, 0] > 0.8).all()
    assert (found.loadings[5:, 1] > 0.8).all()
    assert (np.abs(found.loadings[5:, 0]) < 0.35).all()
    assert (found.se < 0.3).all()
    assert np.allclose(found.places.std(axis=0), 1)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    assert np.allclose(found.loadings, z.T @ found.places / len(x))
    assert np.isclose(found.shares.sum(), eigenvalues(x)[:2].sum() / 9)


def test_standard_errors_are_those_of_new_encoders() -> None:
    """Matched axes: what leaving out encoders gives is near the spread over new samples."""
    drawn = [axes(two_axes(30, seed), 1).loadings[0, 0] for seed in range(40)]
    given = [axes(two_axes(30, seed), 1).se[0, 0] for seed in range(40)]
    assert 0.4 < np.median(given) / np.std(drawn) < 2.5


def test_varimax_finds_the_simple_structure_again() -> None:
    simple = np.array([[0.9, 0], [0.8, 0], [0, 0.7], [0, 0.9]])
    angle = 0.7
    turned = simple @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    again = turned @ varimax(turned)
    assert np.allclose(np.sort(np.abs(again), axis=1), np.sort(simple, axis=1), atol=0.02)


def test_families_are_averaged_in_order() -> None:
    x = np.arange(8.0).reshape(4, 2)
    assert family_means(x, ["b", "a", "b", "a"]).tolist() == [[2, 3], [4, 5]]
    for wrong in (x[:3], x[:, :2], np.full((5, 4), np.nan)):
        with pytest.raises(ScoresError, match="at least 4 rows and 3 tasks"):
            parallel_analysis(wrong)
    with pytest.raises(ScoresError, match="do not exist"):
        axes(two_axes(), 12)


def test_batteries_with_an_axis_each_agree_less_than_splits() -> None:
    x = two_axes(24)
    apart = agreement(x[:, :5], x[:, 5:], samples=199)
    assert apart.p_less <= 0.02
    assert abs(apart.rho) < 0.5
    alike = agreement(x[:, :2], x[:, 2:5], samples=199)
    assert alike.rho > 0.8
    assert alike.p_less > 0.05
    percent = x.copy()
    percent[:, 0] *= 100
    assert np.allclose(standings(x), standings(percent))
    flat = np.concatenate([x[:, :1], np.full((24, 1), 0.3)], axis=1)
    assert np.allclose(standings(flat), standings(x[:, :1]) / 2)
