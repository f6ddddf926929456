"""Bootstrap of correlations: by weights as by index, whole families, and its p by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats import correlation_matrix
from virb.stats.bootstrap import bootstrap_p, bootstrap_weights, weighted_correlations


def scores(n: int, t: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 1)) + rng.normal(size=(n, t))
    return pd.DataFrame(values, index=[f"e{k}" for k in range(n)], columns=[f"t{k}" for k in range(t)])


def test_resamples_by_weights_are_resamples_by_index() -> None:
    table = scores(9, 4, seed=3).round(1).to_numpy()
    rng = np.random.default_rng(1)
    picks = rng.integers(0, 9, size=(40, 9))
    weights = np.stack([np.bincount(pick, minlength=9) for pick in picks]).astype(float)
    upper = np.triu_indices(4, 1)
    for method, reference in (("pearson", np.corrcoef), ("spearman", None)):
        got = weighted_correlations(table, weights, method)
        for pick, row in zip(picks, got, strict=True):
            sample = table[pick] if reference else scipy_stats.rankdata(table[pick], axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                expected = np.corrcoef(sample.T)[upper]
            np.testing.assert_allclose(row, expected, atol=1e-10)


def test_cluster_bootstrap_draws_whole_families() -> None:
    families = ["a", "a", "b", "b", "c", "c"]
    weights = bootstrap_weights(6, 500, np.random.default_rng(0), families)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights.sum(axis=1) == 6).all()
    # Encoders that are copies of one another carry no more than one of each: the interval must not shrink.
    once = scores(8, 2, seed=5)
    copies = pd.concat([once] * 4, keys=range(4))
    copies.index = [f"{k}-{name}" for k, name in copies.index]
    honest = correlation_matrix(
        copies, interval="bootstrap", clusters=[name.split("-")[1] for name in copies.index], resamples=4000
    )
    single = correlation_matrix(once, interval="bootstrap", resamples=4000)
    assert honest.low.loc["t0", "t1"] == pytest.approx(single.low.loc["t0", "t1"], abs=0.05)
    assert honest.high.loc["t0", "t1"] == pytest.approx(single.high.loc["t0", "t1"], abs=0.05)


def test_bootstrap_p_by_hand() -> None:
    z = np.array([[0.5, 0.0], [1.5, 0.1], [2.5, -0.1], [1.0, np.nan]])
    alone, largest = bootstrap_p(np.tanh([1.0, 0.05]), np.tanh(z))
    # |z* - 1| = .5, .5, 1.5, 0 against 1; |z* - .05| = .05, .05, .15 against .05
    assert alone.tolist() == pytest.approx([2 / 5, 4 / 4])
    assert (largest >= alone).all()
    with pytest.raises(ScoresError, match="constant"):
        bootstrap_p(np.array([0.5]), np.full((3, 1), np.nan))
