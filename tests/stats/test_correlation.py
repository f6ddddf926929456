"""Correlations against scipy and statsmodels, by hand, and by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from virb.errors import ScoresError
from virb.stats import correlation_matrix
from virb.stats.bootstrap import bootstrap_correlations
from virb.stats.correlation import adjust_p, fisher_interval, leave_one_out_range, max_statistic_p


def scores(n: int = 12, t: int = 5, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 1)) + rng.normal(size=(n, t))
    return pd.DataFrame(values, index=[f"e{k}" for k in range(n)], columns=[f"t{k}" for k in range(t)])


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_r_and_p_are_scipys(method: str) -> None:
    table = scores().round(1)  # rounding makes ties
    result = correlation_matrix(table, method)
    reference = {"pearson": scipy_stats.pearsonr, "spearman": scipy_stats.spearmanr}[method]
    for a in table:
        for b in table:
            if a == b:
                assert result.r.loc[a, b] == 1
                assert result.p.loc[a, b] == 0
                continue
            r, p = reference(table[a], table[b])
            assert result.r.loc[a, b] == pytest.approx(r, abs=1e-12)
            assert result.p.loc[a, b] == pytest.approx(p, rel=1e-9)


def test_pearson_interval_is_scipys() -> None:
    table = scores(20, 3)
    result = correlation_matrix(table, confidence=0.9)
    for a, b in (("t0", "t1"), ("t1", "t2")):
        low, high = scipy_stats.pearsonr(table[a], table[b]).confidence_interval(0.9)
        assert result.low.loc[a, b] == pytest.approx(low)
        assert result.high.loc[a, b] == pytest.approx(high)


@pytest.mark.parametrize(("ours", "theirs"), [("bh", "fdr_bh"), ("holm", "holm")])
def test_adjustment_is_statsmodels(ours: str, theirs: str) -> None:
    result = correlation_matrix(scores(), adjustment=ours)
    upper = np.triu_indices(5, 1)
    expected = multipletests(result.p.to_numpy()[upper], method=theirs)[1]
    np.testing.assert_allclose(result.p_adjusted.to_numpy()[upper], expected, rtol=1e-12)
    assert (result.p_adjusted.to_numpy() == result.p_adjusted.to_numpy().T).all()


def test_by_hand() -> None:
    # x = 1, 2, 3; y = 1, 3, 2: r = 1/2, rho = 1/2; z = 1, 1, -2 against x: r = -3 / sqrt(2 * 6).
    table = pd.DataFrame({"x": [1.0, 2, 3], "y": [1.0, 3, 2], "z": [1.0, 1, -2]})
    result = correlation_matrix(table)
    assert result.r.loc["x", "y"] == pytest.approx(0.5)
    assert result.r.loc["x", "z"] == pytest.approx(-3 / np.sqrt(12))
    assert (result.low.loc["x", "y"], result.high.loc["x", "y"]) == (-1, 1)  # three encoders say nothing


def test_tidy_scores_are_averaged_over_seeds() -> None:
    table = scores(6, 3)
    tidy = table.rename_axis("encoder").reset_index().melt("encoder", var_name="task", value_name="score")
    twice = pd.concat([tidy.assign(seed=0, score=tidy["score"] - 1), tidy.assign(seed=1, score=tidy["score"] + 1)])
    pd.testing.assert_frame_equal(
        correlation_matrix(twice).r, correlation_matrix(table).r, check_names=False, check_exact=False
    )


def test_bootstrap_interval_holds_r_and_narrows_with_n() -> None:
    widths = []
    for n in (10, 1000):
        result = correlation_matrix(scores(n, 2), interval="bootstrap", resamples=2000)
        low, r, high = (frame.loc["t0", "t1"] for frame in (result.low, result.r, result.high))
        assert low < r < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2.5


def test_max_statistic_is_family_wise() -> None:
    rng = np.random.default_rng(0)
    smallest = []
    for _ in range(60):
        p = max_statistic_p(rng.normal(size=(10, 6)), samples=199, seed=1)
        smallest.append(p[np.triu_indices(6, 1)].min())
    assert np.mean(np.array(smallest) <= 0.05) <= 0.15  # 60 draws of a rate of .05
    assert np.mean(np.array(smallest) <= 0.5) == pytest.approx(0.5, abs=0.2)


def test_max_statistic_of_two_tasks_is_the_permutation_p() -> None:
    x = np.array([[1.0, 2], [2, 1], [3, 4], [4, 3.5], [5, 7]])
    observed = abs(np.corrcoef(x.T)[0, 1])
    import itertools

    exact = np.mean(
        [abs(np.corrcoef(x[:, 0], list(order))[0, 1]) >= observed - 1e-12 for order in itertools.permutations(x[:, 1])]
    )
    assert max_statistic_p(x, samples=20_000)[0, 1] == pytest.approx(exact, abs=0.01)


def test_leaving_one_out_is_done_one_by_one() -> None:
    table = scores(7, 3)
    low, high = leave_one_out_range(table)
    each = [table.drop(name).corr() for name in table.index]
    assert low.loc["t0", "t2"] == pytest.approx(min(r.loc["t0", "t2"] for r in each))
    assert high.loc["t0", "t2"] == pytest.approx(max(r.loc["t0", "t2"] for r in each))


@settings(max_examples=60, deadline=None)
@given(
    arrays(float, (7, 3), elements=st.floats(-100, 100, width=32)),
    st.floats(0.1, 10),
    st.floats(-50, 50),
)
def test_invariant_to_units(values: np.ndarray, scale: float, shift: float) -> None:
    if (np.ptp(values, axis=0) < 1e-3).any():
        return
    table = pd.DataFrame(values)
    for method in ("pearson", "spearman"):
        plain, moved = correlation_matrix(table, method), correlation_matrix((table * scale + shift).round(9), method)
        if method == "pearson":
            np.testing.assert_allclose(plain.r, moved.r, atol=1e-4)
        assert (plain.r.abs() <= 1).to_numpy().all()
        assert (plain.low <= plain.r + 1e-9).to_numpy().all()
        assert (plain.r <= plain.high + 1e-9).to_numpy().all()
        assert (plain.p_adjusted >= plain.p - 1e-12).to_numpy().all()
        np.testing.assert_array_equal(plain.r, plain.r.T)


def test_tiny_and_huge_scores_keep_their_correlation() -> None:
    table = scores(8, 3)
    for factor in (1e-200, 1e200):
        np.testing.assert_allclose(correlation_matrix(table * factor).r, correlation_matrix(table).r, atol=1e-12)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        (lambda t: t.iloc[:2], "found 2 (e0, e1)"),
        (lambda t: t.assign(t1=0.3), "t1"),
        (lambda t: t.mask(t == t.loc["e2", "t1"]), "e2 on t1"),
        (lambda t: t.replace(t.loc["e2", "t1"], np.inf), "e2 on t1"),
        (lambda t: t[["t0"]], "at least 2 tasks"),
        (lambda t: t.assign(name="x"), "name"),
    ],
)
def test_refusals_name_what_is_wrong(broken, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScoresError) as error:
        correlation_matrix(broken(scores(6, 3)))
    assert named in str(error.value)


def test_unknown_choices_are_refused() -> None:
    for wrong in (
        {"method": "kendall"},
        {"interval": "x"},
        {"adjustment": "x"},
        {"confidence": 95},
        {"clusters": ["a"]},
    ):
        with pytest.raises(ScoresError):
            correlation_matrix(scores(), **wrong)
    with pytest.raises(ScoresError):
        adjust_p(np.array([0.1, np.nan]))
    with pytest.raises(ScoresError):
        bootstrap_correlations(scores().to_numpy(), clusters=["a"] * 12)


def test_fisher_interval_covers() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=(2000, 15))
    r = np.array([np.corrcoef(pair.T)[0, 1] for pair in pairs])
    low, high = fisher_interval(r, 15)
    assert np.mean((low < 0.6) & (high > 0.6)) == pytest.approx(0.95, abs=0.02)


def test_family_p_counts_families_and_not_their_copies() -> None:
    rng = np.random.default_rng(0)
    ten = rng.normal(size=(10, 3))
    table = pd.DataFrame(np.repeat(ten, 4, axis=0), columns=list("abc"))
    family = np.repeat(np.arange(10), 4)
    naive = correlation_matrix(table).p.to_numpy()
    asked = {"interval": "bootstrap", "adjustment": "max", "resamples": 2000}
    found = correlation_matrix(table, clusters=list(family), **asked)
    ten_alone = correlation_matrix(pd.DataFrame(ten, columns=list("abc")), clusters=list(range(10)), **asked)
    upper = np.triu_indices(3, 1)
    # Four copies of each encoder say nothing new: p is that of the ten, where Student's falls.
    pd.testing.assert_frame_equal(found.p, ten_alone.p)
    assert (found.p.to_numpy()[upper] > naive[upper]).all()
    np.testing.assert_allclose(found.p, correlation_matrix(pd.DataFrame(ten, columns=list("abc"))).p, atol=0.2)
    assert (found.p_adjusted.to_numpy() >= found.p.to_numpy() - 1e-12).all()


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_encoders_left_out_in_parts_are_all_left_out(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(11, 3)).round(1), columns=list("abc"))
    whole = leave_one_out_range(table, method)
    monkeypatch.setattr("virb.stats.correlation._LEFT_OUT", 4)
    for found, expected in zip(leave_one_out_range(table, method), whole, strict=True):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12)
    without = [table.drop(index=k).corr(method).loc["a", "b"] for k in table.index]
    assert whole[0].loc["a", "b"] == pytest.approx(min(without))
    assert whole[1].loc["a", "b"] == pytest.approx(max(without))
