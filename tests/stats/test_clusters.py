"""Families counted once: against Welch over family means, HC2 of statsmodels, paired differences, and by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.stats.clusters import cluster_fit, family_contrasts, family_differences, family_level

SIZES = {"a": [1, 4, 2], "b": [3, 1, 5, 2]}


def nested(seed: int = 0) -> pd.DataFrame:
    """Encoders of seven families, each of one method, on three tasks."""
    rng = np.random.default_rng(seed)
    rows = []
    for method, sizes in SIZES.items():
        for f, size in enumerate(sizes):
            level = rng.normal()
            for k in range(size):
                rows += [(f"{method}{f}-{k}", t, level + rng.normal(), method, f"{method}{f}") for t in "xyz"]
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "method", "family"])


def families(frame: pd.DataFrame) -> dict[object, object]:
    return dict(zip(frame["encoder"], frame["family"], strict=True))


def test_two_methods_of_whole_families_are_welchs_test_of_family_means() -> None:
    frame = nested()
    got = family_contrasts(frame, "method", [], families(frame), reference="b").iloc[0]
    own = frame.groupby(["method", "family", "encoder"])["score"].mean().groupby(["method", "family"]).mean()
    welch = scipy_stats.ttest_ind(own["a"], own["b"], equal_var=False)
    assert got["difference"] == pytest.approx(own["a"].mean() - own["b"].mean())
    assert got["t"] == pytest.approx(welch.statistic)
    # Satterthwaite's degrees of freedom as the design has them: each family of the same variance.
    n, m = 3, 4
    assert got["df"] == pytest.approx((1 / n + 1 / m) ** 2 / (1 / (n**2 * (n - 1)) + 1 / (m**2 * (m - 1))))
    once = family_level(frame, ["method"], families(frame)).loc["method"]
    assert (once["F"], once["PR(>F)"], once["df_residual"]) == pytest.approx((got["t"] ** 2, got["p"], got["df"]))
    wide = frame.pivot_table(index="encoder", columns="task", values="score")
    groups = [[name for name in wide.index if name[0] == method] for method in "ab"]
    table = family_differences(wide, *groups, families(frame)).set_index("task")
    means = frame.groupby(["task", "method", "family"])["score"].mean().groupby(["task", "method"]).mean().unstack()
    np.testing.assert_allclose(table["difference"], means["a"] - means["b"])
    np.testing.assert_allclose(table["relative"], 100 * (means["a"] - means["b"]) / means["b"].abs())
    assert ((table["low"] < table["difference"]) & (table["difference"] < table["high"])).all()


def test_families_of_one_are_hc2() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(20), rng.normal(size=(20, 2))])
    y = rng.normal(size=20)
    fit = cluster_fit(x, y, range(20))
    reference = sm.OLS(y, x).fit(cov_type="HC2")
    np.testing.assert_allclose(fit.estimate, reference.params)
    np.testing.assert_allclose(fit.parts.T @ fit.parts, reference.cov_params())


def test_a_setting_that_differs_inside_families_is_a_paired_test() -> None:
    rng = np.random.default_rng(1)
    pairs = rng.normal(size=(6, 1)) * 5 + rng.normal(size=(6, 2))
    x = np.column_stack([np.ones(12), np.tile([0, 1], 6)])
    estimate, se, df = cluster_fit(x, pairs.ravel(), np.repeat(range(6), 2)).one(1)
    t = scipy_stats.ttest_rel(pairs[:, 1], pairs[:, 0])
    assert (estimate / se, df) == pytest.approx((t.statistic, 5))


def test_three_equal_levels_shift_no_test() -> None:
    """F does not hang on which level is the reference, nor on the scores' unit."""
    rng = np.random.default_rng(2)
    level, member = np.repeat([0, 1, 2], 8), np.repeat(range(12), 2)
    y = rng.normal(size=12)[member] + rng.normal(size=24)
    found = []
    for reference in range(3):
        others = [k for k in range(3) if k != reference]
        x = np.column_stack([np.ones(24), *[(level == k).astype(float) for k in others]])
        found.append(cluster_fit(x, 100 * y if reference else y, member).joint([1, 2]))
    np.testing.assert_allclose(found[1:], [found[0]] * 2, rtol=1e-6)


def test_what_one_family_decides_has_no_p() -> None:
    frame = nested()
    kept = frame[frame["family"].isin(["a0", "b0", "b1", "b2"])]
    got = family_contrasts(kept, "method", [], families(frame), reference="b").iloc[0]
    assert np.isfinite(got["difference"])
    assert got[["p", "low", "high", "detectable"]].isna().all()
    assert family_level(kept, ["method"], families(frame))["PR(>F)"].isna().all()
    wide = kept.pivot_table(index="encoder", columns="task", values="score")
    groups = [[name for name in wide.index if name[0] == method] for method in "ab"]
    assert family_differences(wide, *groups, families(frame))["low"].isna().all()
