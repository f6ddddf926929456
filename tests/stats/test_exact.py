"""Exact p of small samples against every order written out, published tables, and simulation under the null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats import correlation_matrix
from virb.stats.correlation import adjust_p, correlation_p, fisher_interval
from virb.stats.exact import permutation_p, settled

UPPER = np.triu_indices(2, 1)


def exact_p(x: np.ndarray, y: np.ndarray) -> float:
    observed = abs(np.corrcoef(x, y)[0, 1])
    drawn = [abs(np.corrcoef(x, order)[0, 1]) for order in itertools.permutations(y)]
    return float(np.mean(np.array(drawn) >= observed - 1e-12))


@pytest.mark.parametrize("has_ties", [False, True])
def test_p_is_the_share_of_all_orders(has_ties: bool) -> None:
    rng = np.random.default_rng(0)
    for n in (3, 4, 5):
        x = rng.normal(size=(n, 3)).round(0 if has_ties else 9)
        x[0] += 3  # no column is constant
        for scores in (x, scipy_stats.rankdata(x, axis=0)):
            found = permutation_p(scores)
            for a, b in itertools.combinations(range(3), 2):
                assert found[a, b] == found[b, a] == pytest.approx(exact_p(scores[:, a], scores[:, b]))


@pytest.mark.parametrize("n", range(3, 10))
def test_a_monotone_pair_has_the_smallest_p_that_n_allows(n: int) -> None:
    pair = pd.DataFrame({"a": np.arange(n) / 10, "b": np.exp(np.arange(n))})
    found = correlation_matrix(pair, "spearman")
    assert found.p.loc["a", "b"] == pytest.approx(2 / math.factorial(n))
    assert found.low.loc["a", "b"] < 0.9
    assert found.high.loc["a", "b"] == 1
    assert (found.low.loc["a", "b"] <= 0) == (found.p.loc["a", "b"] > 0.05) or n == 5  # 5: p .017, the interval wider


def test_p_of_six_encoders_worked_by_hand() -> None:
    pair = pd.DataFrame({"x": [0.61, 0.64, 0.66, 0.70, 0.72, 0.81], "y": [0.40, 0.47, 0.43, 0.52, 0.51, 0.90]})
    assert correlation_matrix(pair).p.loc["x", "y"] == pytest.approx(5 / 720)
    found = correlation_matrix(pair, "spearman")
    assert found.r.loc["x", "y"] == pytest.approx(0.8857, abs=1e-4)
    assert found.p.loc["x", "y"] == pytest.approx(24 / 720)


# Smallest |rho| with p <= .05 and its exact p: the published critical values of Spearman's rho.
@pytest.mark.parametrize(
    ("n", "rho", "p"), [(6, 0.8857, 0.0333), (7, 0.7857, 0.0480), (8, 0.7381, 0.0458), (9, 0.7, 0.0433)]
)
def test_critical_values(n: int, rho: float, p: float) -> None:
    rng = np.random.default_rng(n)
    ranks = np.stack([np.arange(n), *[rng.permutation(n) for _ in range(250)]], axis=1).astype(float)
    r, found = np.corrcoef(ranks.T)[0, 1:], permutation_p(ranks)[0, 1:]
    at = np.isclose(np.abs(r), rho, atol=1e-4)
    assert at.any()
    np.testing.assert_allclose(found[at], p, atol=1e-4)
    assert (found[np.abs(r) < rho - 1e-3] > 0.05).all()
    assert (found[np.abs(r) > rho - 1e-3] <= 0.05).all()


@pytest.mark.parametrize("n", [3, 4, 5, 6])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_unrelated_skewed_tasks_are_found_related_no_more_often_than_said(method: str, n: int) -> None:
    """160 unrelated pairs of very skewed scores; Student's p at .05 rejects .10 of them at n = 4 and .33 of ranks at 3."""
    rng = np.random.default_rng(n)
    x = np.exp(2 * rng.normal(size=(160, n, 2)))
    x = scipy_stats.rankdata(x, axis=1) if method == "spearman" else x
    p = np.array([correlation_p(pair)[0, 1] for pair in x])
    for level in (0.05, 0.2):
        assert np.mean(p <= level) <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    if n == 6:
        assert np.mean(p <= 0.2) >= 0.2 - 3 * np.sqrt(0.16 / len(p)) - 0.03  # it does reject


def test_related_tasks_are_found_at_small_n() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 7, 1)) + 0.4 * rng.normal(size=(100, 7, 2))
    assert np.mean([correlation_p(scipy_stats.rankdata(pair, axis=0))[0, 1] <= 0.05 for pair in x]) > 0.6


def test_holm_over_six_tasks_of_five_encoders_holds() -> None:
    """Family-wise over 15 pairs no correction can be reached at n = 5 (2/5! x 15 = .25); Student's Holm rejects .19."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        ranks = scipy_stats.rankdata(rng.normal(size=(5, 6)), axis=0)
        assert adjust_p(correlation_p(ranks)[np.triu_indices(6, 1)], "holm").min() >= 0.25 - 1e-12


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [3, 4, 6, 12, 48])
def test_no_interval_has_width_zero_or_leaves_out_r(method: str, sign: int, n: int) -> None:
    low, high = (float(end) for end in fisher_interval(np.array(float(sign)), n, method=method))
    assert high - low > 1 / n**3
    assert low <= sign <= high
    assert max(abs(low), abs(high)) <= 1


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_an_interval_leaves_out_zero_only_where_p_does(method: str) -> None:
    rng = np.random.default_rng(2)
    for n in (4, 5, 7):
        found = correlation_matrix(pd.DataFrame(np.exp(rng.normal(size=(n, 8)))), method)
        leaves_out = (found.low > 0) | (found.high < 0)
        assert not (leaves_out & (found.p > 0.05)).to_numpy().any()


def test_more_orders_than_can_be_gone_through_are_refused() -> None:
    with pytest.raises(ValueError, match="3628800"):
        permutation_p(np.arange(20.0).reshape(10, 2))
    with pytest.raises(ScoresError, match="jackknife"):
        correlation_matrix(pd.DataFrame(np.eye(4)), interval="jackknife")


def test_means_that_tie_exactly_tie() -> None:
    rng = np.random.default_rng(0)
    repeats = rng.integers(500_000, 900_000, size=(200, 5)) / 1e6
    in_order, shuffled = repeats.mean(axis=1), rng.permuted(repeats, axis=1).mean(axis=1)
    assert (in_order != shuffled).any()  # sums in another order differ in the last bit
    both = settled(np.stack([in_order, shuffled], axis=1))
    np.testing.assert_array_equal(both[:, 0], both[:, 1])
    np.testing.assert_allclose(both[:, 0], in_order, rtol=1e-11)
    gaps = settled(np.array([0.80 - 0.78, 0.82 - 0.80]))
    assert gaps[0] == gaps[1]


def test_settling_keeps_what_is_no_number_of_a_table() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, 1e-300])
    np.testing.assert_array_equal(settled(odd), odd)
    assert settled(np.zeros(3)).tolist() == [0, 0, 0]
    tiny = np.array([1e-200, 2e-200])
    np.testing.assert_allclose(settled(tiny), tiny, rtol=1e-11)
