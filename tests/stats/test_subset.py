"""Few tasks that tell the rest: nothing in noise, what is planted, and no help from sisters of an encoder."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from virb.errors import ScoresError
from virb.stats.subset import predictive_subset


def test_noise_predicts_nothing() -> None:
    """Judged by the mean of all tasks, five of fifteen unrelated ones reach R2 = .3 to .5: they predict themselves."""
    found = []
    for seed in range(8):
        noise = pd.DataFrame(np.random.default_rng(seed).normal(size=(20, 12)))
        found.append(predictive_subset(noise, max_size=4, random_sets=3, seed=seed).table)
    every = pd.concat(found)
    assert every["r2"].mean() < 0.02
    assert abs(every["spearman"].mean()) < 4 / np.sqrt(20 * 8)
    assert (every["r2_in_sample"] > every["r2"]).all()  # what is too kind


def planted(groups: list[int], noise: float = 0.2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    factors = np.repeat(rng.normal(size=(40, len(groups))), groups, axis=1)
    return pd.DataFrame(factors + noise * rng.normal(size=factors.shape)).rename(columns=lambda k: f"t{k}")


def test_one_task_of_each_planted_kind_is_chosen_and_tells_the_others() -> None:
    scores = planted([5, 4])
    table = predictive_subset(scores, max_size=3, random_sets=20).table
    kinds = {int(name[1:]) >= 5 for name in table["tasks"][1].split(" + ")}
    assert kinds == {False, True}
    assert table["spearman"][1] > 0.9
    assert table["r2"][1] > 0.85
    # Random pairs are of one kind almost half the time; the choice is not.
    assert table["spearman"][1] > table["random_median"][1]


def test_where_all_tasks_agree_any_will_do() -> None:
    table = predictive_subset(planted([8]), max_size=2, random_sets=20).table
    assert (table["spearman"] - table["random_median"]).abs().max() < 0.05


def test_families_are_left_out_whole() -> None:
    """Levels of tasks that are the same in all of a family and unrelated across: sisters tell them, strangers cannot."""
    rng = np.random.default_rng(0)
    families = np.repeat(np.arange(6), 5)
    scores = pd.DataFrame(rng.normal(size=(6, 8))[families] + 0.1 * rng.normal(size=(30, 8)))
    by_encoder = predictive_subset(scores, max_size=4, random_sets=2)
    by_family = predictive_subset(scores, max_size=4, random_sets=2, clusters=list(families))
    assert (by_encoder.n_folds, by_family.n_folds) == (30, 6)
    assert by_encoder.table["r2"].max() > 0.8
    assert by_family.table["r2"].max() < 0.4


def test_no_unit_and_no_order_of_tasks_decides() -> None:
    scores = planted([4, 3], noise=0.5)
    table = predictive_subset(scores, max_size=3, random_sets=2).table
    percent = predictive_subset(scores.assign(t2=100 * scores["t2"] + 7), max_size=3, random_sets=2).table
    pd.testing.assert_frame_equal(table, percent)


def test_too_few_encoders_are_refused() -> None:
    with pytest.raises(ScoresError, match="at least 15"):
        predictive_subset(planted([4, 3]).iloc[:14])
