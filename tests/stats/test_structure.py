"""Structure among tasks: planted structure is found, absent structure is not, and exact tests are what they say."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from virb.errors import ScoresError
from virb.stats import correlation_matrix
from virb.stats.structure import cophenetic_distance, dendrogram, pocket_test


def planted(e: int = 30, noise: float = 0.4, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(e, 2))
    values = np.repeat(factors, [4, 3], axis=1) + noise * rng.normal(size=(e, 7))
    names = [f"t{k}" for k in range(7)]
    return pd.DataFrame(values, columns=names), pd.Series(["x"] * 4 + ["y"] * 3, index=names)


def test_planted_branches_are_supported() -> None:
    scores, _ = planted()
    tree = dendrogram(scores, resamples=200)
    heights = cophenetic_distance(tree.linkage)
    assert heights[:4, :4].max() < heights[0, 5]
    # The two planted groups are the last branches but the root; the root holds everything.
    assert tree.support[-1] == 1
    assert sorted(tree.support[-3:-1])[0] > 0.9
    flat = dendrogram(planted(noise=50)[0], resamples=200)
    assert np.median(flat.support[:-1]) < 0.6


def test_pockets() -> None:
    scores, categories = planted()
    r = correlation_matrix(scores).r
    found = pocket_test(r, categories)
    assert found.exact
    assert found.statistic > 0.3
    assert found.adjusted_rand == 1
    # 35 ways to choose the four: the true one is the most extreme.
    assert found.pvalue == pytest.approx(1 / 35)
    wrong = pocket_test(r, pd.Series(list("xyxyxyx"), index=r.columns))
    assert wrong.pvalue > 0.5


def test_pocket_p_is_every_relabelling() -> None:
    scores, categories = planted(e=8, noise=2, seed=4)
    r = correlation_matrix(scores).r
    values = r.to_numpy()
    statistics = []
    for chosen in itertools.combinations(range(7), 4):
        label = np.isin(np.arange(7), chosen)
        same = label[:, None] == label
        upper = np.triu(np.ones((7, 7), bool), 1)
        statistics.append(values[same & upper].mean() - values[~same & upper].mean())
    observed = statistics[0]
    assert pocket_test(r, categories).pvalue == pytest.approx(np.mean(np.array(statistics) >= observed - 1e-12))
    sampled = pocket_test(r, categories, samples=30)
    assert not sampled.exact


def test_pockets_need_categories() -> None:
    scores, _ = planted()
    r = correlation_matrix(scores).r
    for labels in (["x"] * 7, list("abcdefg")):
        with pytest.raises(ScoresError, match="Pockets"):
            pocket_test(r, pd.Series(labels, index=r.columns))
    assert np.isnan(pocket_test(r, pd.Series(list("xxxxxyz"), index=r.columns)).by_category["p"].iloc[-1])


def test_too_few() -> None:
    scores, _ = planted()
    with pytest.raises(ScoresError, match="at least 3 tasks"):
        dendrogram(scores[["t0", "t1"]])
