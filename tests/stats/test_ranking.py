"""Rankings against scipy and scikit-posthocs, by hand, and by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from virb.errors import ScoresError
from virb.stats.ranking import (
    cliques,
    critical_difference,
    friedman,
    holm_wilcoxon,
    nemenyi,
    nemenyi_against,
    pair_tests,
    task_ranks,
)
from virb.stats.standing import rank_bootstrap, rank_stability


def table(e: int = 5, t: int = 12, seed: int = 0, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = spread * np.arange(e)[:, None] / e + rng.normal(size=(1, t)) + 0.5 * rng.normal(size=(e, t))
    return pd.DataFrame(values, index=[f"e{k}" for k in range(e)], columns=[f"t{k}" for k in range(t)])


@pytest.mark.parametrize("digits", [9, 0])  # rounding to whole numbers makes ties
def test_friedman_is_scipys(digits: int) -> None:
    scores = table().round(digits)
    scores.iloc[0, 0] += 1e-3
    result = friedman(scores)
    reference = scipy_stats.friedmanchisquare(*scores.to_numpy())
    assert result.statistic == pytest.approx(reference.statistic)
    assert result.pvalue == pytest.approx(reference.pvalue)


def test_friedman_by_hand() -> None:
    # Three encoders in the same order on all four tasks: chi2 = N (k - 1) = 8, W = 1.
    scores = pd.DataFrame(np.array([[3.0], [2], [1]]) + np.arange(4))
    result = friedman(scores)
    assert (result.statistic, result.kendall_w, result.f) == (pytest.approx(8), pytest.approx(1), np.inf)
    assert result.mean_ranks.tolist() == [1, 2, 3]
    noisy = friedman(table())
    n, k = 12, 5
    assert noisy.f == pytest.approx((n - 1) * noisy.statistic / (n * (k - 1) - noisy.statistic))


def test_nemenyi_is_scikit_posthocs() -> None:
    scores = table()
    theirs = scikit_posthocs.posthoc_nemenyi_friedman(scores.T.to_numpy())
    np.testing.assert_allclose(nemenyi(scores).to_numpy(), theirs.to_numpy(), atol=1e-6)
    name = scores.index[1]
    pd.testing.assert_series_equal(
        nemenyi_against(scores, name), nemenyi(scores).loc[name].drop(name), check_names=False
    )


def test_critical_difference_is_demsars_table() -> None:
    # Demšar 2006, Table 5: q_.05 is 2.343 for three and 3.164 for ten classifiers.
    assert critical_difference(3, 1) == pytest.approx(2.343 * np.sqrt(3 * 4 / 6), rel=1e-3)
    assert critical_difference(10, 24) == pytest.approx(3.164 * np.sqrt(10 * 11 / (6 * 24)), rel=1e-3)


def test_two_encoders_further_apart_than_the_difference_are_significant() -> None:
    scores = table(6, 20, spread=2)
    p, ranks = nemenyi(scores), friedman(scores).mean_ranks
    limit = critical_difference(6, 20)
    for a in scores.index:
        for b in scores.index:
            assert (p.loc[a, b] < 0.05) == (abs(ranks[a] - ranks[b]) > limit)


def test_holm_wilcoxon() -> None:
    scores = table()
    result = holm_wilcoxon(scores)
    expected = [
        scipy_stats.wilcoxon(scores.loc[a] - scores.loc[b]).pvalue
        for a, b in result[["encoder_a", "encoder_b"]].to_numpy()
    ]
    np.testing.assert_allclose(result["p"], expected)
    np.testing.assert_allclose(result["p_holm"], multipletests(expected, method="holm")[1])
    twins = pd.DataFrame([scores.iloc[0], scores.iloc[0]], index=["a", "b"])
    assert holm_wilcoxon(twins)["p"].tolist() == [1]


def test_a_part_of_the_pairs_is_that_part_of_all() -> None:
    scores = table()
    among = [*scores.index[3:], scores.index[0]]
    tests = pair_tests(scores)
    whole = tests.table()
    expected = whole[whole["encoder_a"].isin(among) & whole["encoder_b"].isin(among)]
    pd.testing.assert_frame_equal(tests.table(among), expected.reset_index(drop=True))
    p = nemenyi(scores, among=among)
    pd.testing.assert_frame_equal(p, nemenyi(scores).loc[p.index, p.index])
    assert set(p.index) == set(among)


def test_cliques_by_hand() -> None:
    ranks = pd.Series({"a": 1.0, "b": 1.8, "c": 2.5, "d": 4.0, "e": 6.0})
    assert cliques(ranks, 1.6) == [("a", "b", "c"), ("c", "d")]
    assert cliques(ranks, 0.1) == []
    assert cliques(ranks, 10) == [("a", "b", "c", "d", "e")]


def test_rank_intervals() -> None:
    result = rank_bootstrap(table(5, 40, spread=5), resamples=1000, top=1)
    assert list(result.index) == ["e4", "e3", "e2", "e1", "e0"]
    assert result["p_top"].tolist() == [1, 0, 0, 0, 0]
    vague = rank_bootstrap(table(5, 6, spread=0), resamples=1000)
    assert (vague["low"] <= vague["rank"]).all()
    assert (vague["rank"] <= vague["high"]).all()
    assert (vague["high"] - vague["low"]).max() >= 2
    groups = pd.Series(["x"] * 3 + ["y"] * 3, index=[f"t{k}" for k in range(6)])
    assert set(rank_bootstrap(table(5, 6), groups=groups, resamples=200).index) == {f"e{k}" for k in range(5)}


def test_ranks_are_blind_to_monotone_units() -> None:
    scores = table()
    pd.testing.assert_frame_equal(task_ranks(scores), task_ranks(np.exp(scores)))
    assert friedman(scores).statistic == pytest.approx(friedman(np.exp(scores)).statistic)


def test_stability_leaves_out_one_by_one() -> None:
    scores = table()
    result = rank_stability(scores).set_index("left_out")
    assert result.loc["(none)", "kendall_tau"] == pytest.approx(1)
    without = task_ranks(scores.drop(columns="t3")).mean(axis=1)
    assert result.loc["t3", "best"] == without.idxmin()
    groups = pd.Series(["x"] * 6 + ["y"] * 6, index=scores.columns)
    assert rank_stability(scores, groups)["left_out"].tolist() == ["(none)", "x", "y"]
    with pytest.raises(ScoresError, match="no task"):
        rank_stability(scores, pd.Series("x", index=scores.columns))


def test_missing_scores_are_refused_everywhere() -> None:
    scores = table()
    scores.iloc[1, 2] = np.nan
    for function in (friedman, nemenyi, holm_wilcoxon, rank_bootstrap, rank_stability):
        with pytest.raises(ScoresError, match="e1 on t2"):
            function(scores)
    with pytest.raises(ScoresError, match="at least 3"):
        friedman(table(2))
