"""Who leads and how sure: Friedman's test where tasks of a category agree, mean ranks' intervals, and the leader by luck."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from virb.stats.ranking import friedman, task_ranks
from virb.stats.standing import leader_by_luck, rank_bootstrap, shuffled_friedman_p, standing


def equal(k: int, n_categories: int, each: int, agree: float, rng: np.random.Generator) -> pd.DataFrame:
    """Equal encoders; tasks of a category correlate by ``agree``."""
    shared = np.repeat(rng.normal(size=(k, n_categories)), each, axis=1)
    return pd.DataFrame(np.sqrt(agree) * shared + np.sqrt(1 - agree) * rng.normal(size=(k, n_categories * each)))


def test_categories_shuffled_whole_hold_where_friedman_rejects_two_in_three() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(np.repeat(np.arange(4), 4))
    found = []
    for _ in range(250):
        study = equal(6, 4, 4, 0.8, rng)
        found.append((shuffled_friedman_p(study, groups, samples=199)[0] <= 0.05, friedman(study).f_pvalue <= 0.05))
    shuffled, counted = np.mean(found, axis=0)
    assert shuffled <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 250)
    assert counted > 0.5


def test_encoders_that_differ_are_found_over_categories() -> None:
    rng = np.random.default_rng(0)
    groups = pd.Series(np.repeat(np.arange(4), 4))
    studies = [equal(6, 4, 4, 0.5, rng) + 0.8 * np.arange(6)[:, None] for _ in range(60)]
    assert np.mean([shuffled_friedman_p(study, groups, samples=199)[0] <= 0.05 for study in studies]) > 0.8


def test_shuffled_p_is_that_of_all_orders() -> None:
    rng = np.random.default_rng(3)
    study = pd.DataFrame(rng.normal(size=(3, 4)))
    groups = pd.Series(list("aabb"))
    for labels, blocks in ((groups, [[0, 1], [2, 3]]), (None, [[0], [1], [2], [3]])):
        ranks = task_ranks(study).to_numpy()
        sums = [ranks[:, block].sum(axis=1) for block in blocks]
        observed = (sum(sums) ** 2).sum()
        orders = list(itertools.permutations(range(3)))
        drawn = [
            (sum(block[list(order)] for block, order in zip(sums, picked, strict=True)) ** 2).sum()
            for picked in itertools.product(orders, repeat=len(sums))
        ]
        p, least = shuffled_friedman_p(study, labels, samples=3999)
        assert p == pytest.approx(np.mean(np.array(drawn) >= observed - 1e-9), abs=0.03)
        assert least == pytest.approx(max(6.0 ** (1 - len(sums)), 1 / 4000))


def test_tasks_that_all_agree_have_the_p_of_one_order_and_not_nought() -> None:
    study = pd.DataFrame(np.array([[3.0], [2], [1]]) + np.arange(4))
    assert friedman(study).f_pvalue == pytest.approx(6.0**-3)


def test_interval_of_the_mean_rank_covers() -> None:
    """Six equal encoders have a mean rank of 3.5; percentiles of six resampled tasks cover it in .87 of studies."""
    rng = np.random.default_rng(0)
    covers = []
    for _ in range(200):
        table = rank_bootstrap(equal(6, 6, 1, 0.0, rng), resamples=20)
        covers.append(((table["mean_low"] <= 3.5) & (table["mean_high"] >= 3.5)).mean())
    assert np.mean(covers) >= 0.95 - 0.02
    assert np.mean(covers) <= 0.99


@pytest.mark.parametrize("each", [1, 3])
def test_probabilities_are_of_freely_resampled_tasks(each: int) -> None:
    rng = np.random.default_rng(1)
    study = equal(5, 6, each, 0.3, rng)
    one_each = pd.Series([f"c{k}" for k in range(study.shape[1])], index=study.columns)
    found = standing(study, one_each, top=2, resamples=500)
    expected = rank_bootstrap(study, top=2, resamples=500)
    pd.testing.assert_series_equal(found.table["p_top"], expected["p_top"])
    assert 0 < found.table["p_top"].iloc[0] < 1
    assert found.p == found.p_tasks  # a task in each category: nothing to shuffle together
    held = standing(study, one_each, within_categories=True, resamples=50).table["p_first"]
    assert set(held) <= {0.0, 1.0}  # which is why it is not the default
    grouped = pd.Series(np.arange(study.shape[1]) // 3, index=study.columns).astype(str)
    assert "categories whole" in standing(study, grouped, resamples=50).blocks


def test_luck_is_what_equal_encoders_get() -> None:
    rng = np.random.default_rng(0)
    found = [rank_bootstrap(equal(5, 9, 1, 0.0, rng), top=1, resamples=200)["p_top"].iloc[0] for _ in range(150)]
    assert leader_by_luck(5, 9) == pytest.approx(np.mean(found), abs=3 * np.std(found) * np.sqrt(1 / 150 + 1 / 200))
    assert leader_by_luck(5, 9) > 0.35  # .20 is the truth


def test_parts_of_the_resamples_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    study = equal(40, 12, 1, 0.0, np.random.default_rng(3)).round(1)
    whole = rank_bootstrap(study, resamples=300)
    monkeypatch.setattr("virb.stats.standing._BLOCK", 1000)  # 25 resamples
    monkeypatch.setattr("virb.stats.standing._COLUMNS", 7)  # encoders
    pd.testing.assert_frame_equal(rank_bootstrap(study, resamples=300), whole, check_exact=True)
