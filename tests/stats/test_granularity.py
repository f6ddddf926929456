"""Coarser labels and single classes: by hand, against references, and what must always hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from virb.errors import ScoresError
from virb.stats.granularity import class_deltas, depth_levels, extreme_classes, group_accuracy, level_accuracy

TREE = {"thing": None, "animal": "thing", "dog": "animal", "cat": "animal", "poodle": "dog", "car": "thing"}


def test_depth_levels_merge_the_deepest_first() -> None:
    levels = depth_levels(TREE, ["poodle", "cat", "car"])
    assert levels[0] == {"poodle": "poodle", "cat": "cat", "car": "car"}
    assert levels[1] == {"poodle": "dog", "cat": "cat", "car": "car"}
    assert levels[2] == {"poodle": "animal", "cat": "animal", "car": "car"}
    assert set(levels[3].values()) == {"thing"}
    with pytest.raises(ScoresError, match="'bird'"):
        depth_levels(TREE, ["bird"])
    with pytest.raises(ScoresError, match="circle"):
        depth_levels({"a": "b", "b": "a"}, ["a"])


def test_level_accuracy_against_references() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 6, 200)
    prediction = np.where(rng.random(200) < 0.5, target, rng.integers(0, 6, 200))
    table = level_accuracy(target, prediction, {"fine": np.arange(6), "coarse": np.arange(6) // 2})
    for row, (t, p) in zip(table.itertuples(), ((target, prediction), (target // 2, prediction // 2)), strict=True):
        assert row.accuracy == pytest.approx(np.mean(t == p))
        assert row.kappa == pytest.approx(cohen_kappa_score(t, p))
        low, high = proportion_confint(np.sum(t == p), 200, method="wilson")
        assert (row.low, row.high) == (pytest.approx(low), pytest.approx(high))
    assert table["n_classes"].tolist() == [6, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(1, 60), st.integers(0, 999))
def test_accuracy_cannot_fall_when_labels_are_merged(k: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, prediction = rng.integers(0, k, (2, n))
    levels = {"0": np.arange(k)}
    for depth in range(1, 4):
        levels[str(depth)] = rng.integers(0, max(1, k - depth), k)[levels[str(depth - 1)]]
    assert level_accuracy(target, prediction, levels)["accuracy"].is_monotonic_increasing


def test_class_deltas_by_hand() -> None:
    target = np.array([0] * 6 + [1] * 4 + [2] * 2)
    a = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2, 0])
    b = np.array([0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 2, 0])
    result = class_deltas(target, a, b, names=["x", "y", "z"])
    assert result.table["class"].tolist() == ["x", "z", "y"]
    assert result.table["delta"].tolist() == pytest.approx([2 / 6, 0, -1 / 4])
    assert (result.improved, result.equal, result.worse) == (1 / 3, 1 / 3, 1 / 3)
    assert result.table["p"][0] == pytest.approx(mcnemar([[0, 0], [2, 0]], exact=True).pvalue)
    assert (result.table["p_bh"] >= result.table["p"]).all()


def test_luck_is_shrunk_away_and_real_differences_are_kept() -> None:
    rng = np.random.default_rng(0)
    target = np.repeat(np.arange(100), 10)
    a, b = (np.where(rng.random(1000) < 0.6, target, (target + 1) % 100) for _ in range(2))
    luck = class_deltas(target, a, b)
    assert luck.table["delta"].abs().max() >= 0.4
    assert luck.table["shrunk"].abs().max() < 0.2
    assert luck.table["p_bh"].min() > 0.05
    target = np.repeat(np.arange(20), 200)
    better = target < 10
    a = np.where(rng.random(4000) < 0.3, target, (target + 1) % 20)
    b = np.where(rng.random(4000) < np.where(better, 0.9, 0.1), target, (target + 1) % 20)
    real = class_deltas(target, a, b)
    assert set(real.table["class"][:10]) == set(range(10))
    np.testing.assert_allclose(real.table["shrunk"], real.table["delta"], atol=0.02)


def test_extreme_classes() -> None:
    table = extreme_classes(pd.DataFrame({"a": [0.1, 0.2, 0.8, 0.9], "b": [0.9, 0.1, 0.2, 0.8]}), share=0.25)
    row = table[(table["from_encoder"] == "a") & (table["end"] == "hardest")].iloc[0]
    assert (row["mean_from"], row["mean_to"], row["overlap"], row["n"]) == (0.1, 0.9, 0, 1)
    with pytest.raises(ScoresError):
        extreme_classes(pd.DataFrame({"a": [0.1, np.nan]}))


def test_extreme_classes_by_their_definition() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(size=(20, 4)).round(1), index=[f"c{k}" for k in range(20)], columns=list("dbca"))
    found = extreme_classes(table, share=0.2)
    assert len(found) == 2 * 4 * 3
    assert list(dict.fromkeys(found["from_encoder"])) == list("dbca")
    for row in found.itertuples():
        first, other = (table[name].sort_values(kind="stable") for name in (row.from_encoder, row.to_encoder))
        chosen, there = (x.index[:4] if row.end == "hardest" else x.index[-4:] for x in (first, other))
        assert row.overlap == len(set(chosen) & set(there)) / 4
        assert (row.mean_from, row.mean_to) == pytest.approx((first[chosen].mean(), other[chosen].mean()), rel=1e-15)


def test_refusals() -> None:
    good = np.zeros(3, int)
    for bad in (good[:2], np.array([0.5, 1, 2]), np.array([-1, 0, 0]), good[:0]):
        with pytest.raises(ScoresError):
            level_accuracy(good if len(bad) else bad, bad, {"l": [0]})
    with pytest.raises(ScoresError, match="class 2"):
        level_accuracy(np.array([2]), np.array([0]), {"l": [0, 1]})


def test_group_accuracy_is_the_mean_over_classes() -> None:
    target = np.array([0, 0, 0, 0, 1, 2, 2])
    prediction = np.array([0, 0, 0, 1, 1, 0, 2])
    table = group_accuracy(target, prediction, ["x", "x", "y", "z"]).set_index("group")
    assert table.loc["x", "accuracy"] == pytest.approx((0.75 + 1) / 2)  # not 4 of 5
    assert table.loc["y", ["n_classes", "n", "accuracy"]].tolist() == [1, 2, 0.5]
    assert np.isnan(table.loc["y", "low"])
    assert "z" not in table.index
    with pytest.raises(ScoresError, match="class 2"):
        group_accuracy(target, prediction, ["x", "x"])
