"""Aggregates over tasks: rliable's numbers, loops, and what intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.aggregation import (
    Runs,
    Spread,
    improvement,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    over_runs,
    over_tasks,
    profile,
    share_interval,
)

X = np.array([[0.60, 0.31, 0.82, 0.45], [0.64, 0.28, 0.80, 0.50], [0.58, 0.35, 0.85, 0.41]])
Y = np.array([[0.55, 0.33, 0.80, 0.40], [0.57, 0.30, 0.78, 0.44], [0.61, 0.29, 0.79, 0.39]])


def runs() -> Runs:
    return Runs.of([np.stack([X[:, t], Y[:, t]]) for t in range(4)])


def middle(some: Runs) -> np.ndarray:
    return interquartile_mean(some.values, some.weights())


def mean(some: Runs) -> np.ndarray:
    return np.asarray((some.weights() * np.nan_to_num(some.values)).sum(axis=1))


def test_numbers_of_rliable() -> None:
    found = runs()
    assert np.allclose(middle(found), [0.5300, 0.4933], atol=5e-5)
    assert np.allclose(improvement(found.values[0], found.values[1], found.task), [7 / 9, 5 / 9, 8.5 / 9, 8 / 9])
    assert np.isclose(optimality_gap(found)[0], 0.45083, atol=5e-6)
    assert np.allclose(profile(found, np.array([0.3, 0.5, 0.7]))[0], [0.9167, 0.5, 0.25], atol=5e-5)


@pytest.mark.parametrize("n", [5, 8, 11, 22])
def test_the_middle_of_equal_weights_is_scipys(n: int) -> None:
    x = np.random.default_rng(n).normal(size=n)
    assert np.isclose(interquartile_mean(x, np.full(n, 1 / n)), scipy_stats.trim_mean(x, 0.25))


def test_a_task_with_many_runs_weighs_no_more() -> None:
    few = [np.array([[0.1]]), np.array([[0.5]]), np.array([[0.9]])]
    many = [few[0], np.array([[0.5] * 50]), few[2]]
    assert np.allclose(mean(Runs.of(many)), mean(Runs.of(few)))
    # A quarter of the weight from either end: a fourth of task 1 and of task 3 stay, and all of task 2.
    assert np.isclose(middle(Runs.of(many))[0], (0.1 / 12 + 0.5 / 3 + 0.9 / 12) / 0.5)
    part = Runs.of([np.array([[0.2, np.nan, 0.4]]), np.array([[0.6, 0.6, 0.6]])])
    assert np.isclose(mean(part)[0], 0.45)
    with pytest.raises(ScoresError, match="no run on task 1"):
        Runs.of([np.ones((2, 3)), np.array([[1.0], [np.nan]])])


def test_leaving_runs_out_gives_the_standard_error_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    tasks = [rng.normal(size=(2, n)) for n in (3, 5, 4)]
    found = over_runs(Runs.of(tasks), mean)
    by_hand = [sum(x[e].var(ddof=1) / x.shape[1] for x in tasks) / 9 for e in range(2)]
    assert np.allclose(found.se**2, by_hand)
    parts = np.array([tasks[k][0].var(ddof=1) / tasks[k].shape[1] / 9 for k in range(3)])
    assert np.isclose(found.df[0], parts.sum() ** 2 / (parts**2 / np.array([2, 4, 3])).sum())
    blocks = over_tasks(Runs.of(tasks), mean, np.arange(3))
    means = np.array([x[0].mean() for x in tasks])
    assert np.isclose(blocks.se[0], means.std(ddof=1) / np.sqrt(3))
    assert np.isclose(blocks.half()[0], scipy_stats.t.ppf(0.975, 2) * blocks.se[0])
    assert np.isnan(over_tasks(Runs.of(tasks), mean, np.zeros(3, int)).half()).all()


def test_one_run_of_one_encoder_costs_that_encoder_its_interval() -> None:
    tasks = [np.array([[0.1, 0.2], [0.3, np.nan]]), np.array([[0.4, 0.5], [0.5, 0.7]])]
    half = over_runs(Runs.of(tasks), middle).half()
    assert np.isfinite(half[0])
    assert np.isnan(half[1])


def test_pairs_of_encoders_that_do_not_share_draws_vary_apart() -> None:
    rng = np.random.default_rng(1)
    draw = rng.normal(size=(1, 8))
    tasks = [np.concatenate([draw, draw + 0.01 * rng.normal(size=(1, 8))]) for _ in range(2)]

    def ahead(some: Runs) -> np.ndarray:
        return mean(some)[:1] - mean(some)[1:]

    alone = np.array([True, False])
    together = over_runs(Runs.of(tasks), ahead, alone=alone)
    apart = over_runs(Runs.of(tasks, are_paired=False), ahead, alone=alone)
    assert apart.se[0] > 20 * together.se[0]


def test_shares_have_a_width_everywhere() -> None:
    low, high = share_interval(np.array([0.0, 0.5, 1.0]), 6.0, np.full(3, 1.96))
    assert np.allclose([low[2], high[0]], [6 / (6 + 1.96**2), 1.96**2 / (6 + 1.96**2)])
    assert np.isclose(low[1] + high[1], 1)
    sure = Spread(np.zeros(1), np.full(1, 5.0))
    assert improvement_interval(np.ones(1), sure, 6.0, families=40)[0] < 0.5
    assert improvement_interval(np.ones(1), sure, 60.0, families=2)[0] > 0.8
    assert sure.quantile(families=100)[0] > sure.quantile(families=5)[0] > sure.quantile()[0]
