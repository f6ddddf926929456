"""Analysis of variance against nested least squares and statsmodels, its refusals, and the warning it comes with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats as scipy_stats
from statsmodels.stats.anova import anova_lm

from virb.errors import ScoresError
from virb.stats import anova
from virb.stats.variance import encoder_level, encoder_means, level_contrasts, mixed_model


def study(encoder_sd: float = 0.0, effect: float = 0.0, seed: int = 0, n_tasks: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for method in ("a", "b", "c"):
        for balance in ("even", "odd"):
            for copy in range(3):
                own = encoder_sd * rng.normal() + effect * (balance == "odd")
                for task in range(n_tasks):
                    rows.append((f"{method}-{balance}-{copy}", f"t{task}", task + own + rng.normal(), method, balance))
    return pd.DataFrame(rows, columns=["encoder", "task", "score", "method", "balance"])


def residual(frame: pd.DataFrame, columns: list[str]) -> float:
    x = pd.get_dummies(frame[columns], drop_first=True).to_numpy(float) if columns else np.empty((len(frame), 0))
    x = np.column_stack([np.ones(len(frame)), x])
    y = frame["score"].to_numpy()
    return float(np.sum((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2))


def test_type_two_is_nested_least_squares() -> None:
    frame = study(effect=0.5).drop(index=[3, 40, 41])  # unbalanced
    table = anova(frame, "score ~ task + method + balance")
    full = residual(frame, ["task", "method", "balance"])
    for name, without in (
        ("task", ["method", "balance"]),
        ("method", ["task", "balance"]),
        ("balance", ["task", "method"]),
    ):
        gone = residual(frame, without) - full
        assert table.loc[name, "sum_sq"] == pytest.approx(gone)
        df = table.loc[name, "df"]
        f = (gone / df) / (full / table.loc["Residual", "df"])
        assert table.loc[name, "F"] == pytest.approx(f)
        assert table.loc[name, "PR(>F)"] == pytest.approx(scipy_stats.f.sf(f, df, table.loc["Residual", "df"]))
        assert table.loc[name, "partial_eta_sq"] == pytest.approx(gone / (gone + full))
        assert table.loc[name, "eta_sq"] == pytest.approx(gone / residual(frame, []))
        assert table.loc[name, "omega_sq"] < table.loc[name, "eta_sq"]


@pytest.mark.parametrize(
    ("formula", "typ"),
    [
        ("score ~ task + method * balance", 1),
        ("score ~ task + method * balance", 2),
        ("score ~ C(method, Sum) * C(balance, Sum)", 3),
    ],
)
def test_all_types_are_statsmodels(formula: str, typ: int) -> None:
    frame = study().drop(index=[3, 40, 41])
    ours = anova(frame, formula, typ=typ)
    theirs = anova_lm(smf.ols(formula, frame).fit(), typ=typ)
    pd.testing.assert_frame_equal(ours[["sum_sq", "df", "F", "PR(>F)"]], theirs[["sum_sq", "df", "F", "PR(>F)"]])


def test_by_hand() -> None:
    # Means 2 and 5 about 3.5: between 6 * 1.5^2 = 13.5, within 2 + 2 = 4 on 4 degrees: F = 13.5.
    frame = pd.DataFrame({"score": [1.0, 2, 3, 4, 5, 6], "method": list("aaabbb")})
    table = anova(frame, "score ~ method")
    assert table.loc["method", ["sum_sq", "F", "eta_sq"]].tolist() == pytest.approx([13.5, 13.5, 13.5 / 17.5])
    assert table.loc["method", "omega_sq"] == pytest.approx((13.5 - 1) / (17.5 + 1))


def test_effect_sizes_do_not_depend_on_units() -> None:
    frame = study(effect=0.4)
    moved = frame.assign(score=frame["score"] * 100 - 7)
    columns = ["F", "eta_sq", "partial_eta_sq", "omega_sq"]
    a, b = (anova(f, "score ~ task + balance")[columns] for f in (frame, moved))
    pd.testing.assert_frame_equal(a, b)


def test_a_design_with_empty_cells_is_refused() -> None:
    frame = study()
    frame["size"] = np.where(frame["encoder"].str.endswith("0"), "small", "large")
    frame = frame[~((frame["balance"] == "odd") & (frame["size"] == "small"))]
    with pytest.raises(ScoresError, match="rank"):
        anova(frame, "score ~ task + balance * size")
    with pytest.raises(ScoresError, match="rank"):
        anova(study().assign(twin=lambda f: f["method"] + "!"), "score ~ method + twin")
    assert anova(frame, "score ~ task + balance + size").shape[0] == 4


@pytest.mark.parametrize(
    "formula", ["score ~ method * balance", "score ~ C(method, Sum) * balance", "score ~ C(method) + C(balance, Sum)"]
)
def test_type_three_wants_sum_contrasts(formula: str) -> None:
    with pytest.raises(ScoresError, match="sum-to-zero"):
        anova(study(), formula, typ=3)


@pytest.mark.parametrize(
    ("change", "formula", "named"),
    [
        (lambda f: f, "score ~ size", "size"),
        (lambda f: f, "score", "~"),
        (lambda f: f.assign(method="a"), "score ~ method", "method"),
        (lambda f: f.assign(score=1.0), "score ~ method", "Every score"),
        (lambda f: f.assign(score=f["score"].mask(f.index == 5)), "score ~ method", "row 5"),
        (lambda f: f.assign(method=f["method"].mask(f.index == 5)), "score ~ method", "method"),
        (lambda f: f.iloc[:8], "score ~ task", "nothing"),
        (lambda f: f.iloc[:0], "score ~ task", "no rows"),
        (lambda f: f.assign(score=f["score"].replace(f["score"][3], np.inf)), "score ~ task", "finite"),
    ],
)
def test_refusals(change, formula: str, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ScoresError, match=named):
        anova(change(study()), formula)
    with pytest.raises(ScoresError, match="typ"):
        anova(study(), "score ~ task", typ=4)


def test_counting_tasks_as_independent_finds_what_is_not_there() -> None:
    wrong, right = [], []
    for seed in range(60):
        frame = study(encoder_sd=1.0, seed=seed, n_tasks=6)
        wrong.append(anova(frame, "score ~ task + method + balance").loc["balance", "PR(>F)"] < 0.05)
        right.append(encoder_level(frame, ["method", "balance"]).loc["balance", "PR(>F)"] < 0.05)
    assert np.mean(wrong) > 0.25
    assert np.mean(right) < 0.15


def test_contrasts_are_differences_of_means_in_a_balanced_design() -> None:
    frame = study(effect=0.8)
    for clustered in (True, False):
        table = level_contrasts(frame, "method", ["balance"], reference="b", clustered=clustered)
        means = frame.groupby("method")["score"].mean()
        assert table.set_index("level")["difference"].to_dict() == pytest.approx(
            {k: means[k] - means["b"] for k in ("a", "c")}
        )
        assert (table["low"] < table["difference"]).all()
        assert (table["p_holm"] >= table["p"]).all()
    with pytest.raises(ScoresError, match="'z'"):
        level_contrasts(frame, "method", [], reference="z")


def test_mixed_model_agrees_with_encoder_means_when_balanced() -> None:
    frame = study(encoder_sd=1.0, effect=1.5, seed=2)
    mixed = mixed_model(frame, ["method", "balance"])
    means = level_contrasts(frame, "balance", ["method"], reference="even")
    row = mixed.table.set_index("term").loc["balance[T.odd]"]
    assert row["estimate"] == pytest.approx(means["difference"][0], rel=1e-3)
    assert row["p"] == pytest.approx(means["p"][0], rel=0.02)
    assert mixed.encoder_sd == pytest.approx(1, abs=0.5)
    assert mixed.residual_sd == pytest.approx(1, abs=0.1)
    with pytest.raises(ScoresError):
        mixed_model(frame[frame["encoder"].isin(["a-even-0", "b-odd-0"])], ["method"])


def test_encoder_means_need_every_cell() -> None:
    frame = study()
    with pytest.raises(ScoresError, match="a-even-0"):
        encoder_means(frame.drop(index=0), ["method"])


@pytest.mark.parametrize(
    "formula",
    [
        "score ~ C(task) + C(method, Treatment(reference='b')) + balance",
        'score ~ Q("the task") + np.log(size) + C(method)',
        "score ~ C(task, Sum) * C(method, Sum) + I(size ** 2)",
    ],
)
def test_formulas_may_hold_functions_contrasts_and_quoted_names(formula: str) -> None:
    frame = study()
    frame["size"] = np.arange(len(frame)) % 7 + 1.0
    frame["the task"] = frame["task"]
    ours, theirs = anova(frame, formula), anova_lm(smf.ols(formula, frame).fit(), typ=2)
    np.testing.assert_allclose(ours["sum_sq"], theirs["sum_sq"])


def test_type_three_with_sum_contrasts_everywhere_is_done() -> None:
    frame = study().drop(index=[1, 2])
    table = anova(frame, "score ~ C(task, Sum) + C(method, Sum) * C(balance, Sum)", typ=3)
    assert np.isfinite(table["F"].drop("Residual")).all()
    assert np.isnan(table.loc["Intercept", "eta_sq"])
