"""Intervals of few units, exact tests and readings that may be wrong, against loops and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from virb.stats.claims import (
    difference_interval,
    effective_encoders,
    jackknife,
    labelling_p,
    mcnemar_bounds,
    mean_interval,
    redrawn,
    share_interval,
    side,
    sign_p,
)
from virb.stats.permutation import paired_permutation_test


def test_intervals_are_students():
    x, y = np.array([0.1, 0.4, 0.2, 0.3]), np.array([0.0, 0.1, 0.05])
    low, high = scipy_stats.t.interval(0.95, 3, x.mean(), scipy_stats.sem(x))
    assert mean_interval(x) == pytest.approx((x.mean(), low, high))
    assert mean_interval([0.3]) == (0.3, -math.inf, math.inf)
    ends = scipy_stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert difference_interval(x, y)[1:] == pytest.approx((ends.low, ends.high))


def test_jackknife_of_a_mean_is_students_interval_and_needs_three_groups():
    x = np.array([0.1, 0.4, 0.2, 0.3, 0.7])
    assert jackknife(lambda rows: x[rows].mean(), range(5)) == pytest.approx(mean_interval(x))
    assert jackknife(lambda rows: x[rows].mean(), "aabbb")[1:] == (-math.inf, math.inf)
    grouped = jackknife(lambda rows: x[rows].mean(), "aabbc")
    assert grouped[0] == pytest.approx(x.mean())
    assert grouped[2] - grouped[1] > mean_interval(x)[2] - mean_interval(x)[1]


def test_labelling_p_is_the_share_of_all_labellings():
    x = np.array([0.9, 0.2, 0.8, 0.1, 0.5, 0.3])
    inside = np.array([True, False, True, False, False, True])
    gaps = [abs(x[list(c)].mean() - np.delete(x, list(c)).mean()) for c in itertools.combinations(range(6), 3)]
    assert labelling_p(x, inside) == np.mean(
        np.array(gaps) >= gaps[[*itertools.combinations(range(6), 3)].index((0, 2, 5))] - 1e-12
    )
    assert labelling_p(x, inside, samples=10) == pytest.approx(labelling_p(x, inside), abs=0.35)


def test_small_tests():
    assert sign_p(14, 14) == pytest.approx(2 / 2**14)
    assert sign_p(0, 0) == 1.0
    assert share_interval(5, 5)[1] == pytest.approx(0.025 ** (1 / 5))
    assert effective_encoders([1] * 10, 0.9) == pytest.approx(10)
    assert effective_encoders([10], 1.0) == pytest.approx(1)
    assert [side(0.1, 0.2), side(-0.2, -0.1), side(-0.1, 0.1), side(0.6, 0.7, 0.5)] == [1, -1, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_mcnemars_p_lies_between_its_bounds(seed):
    rng = np.random.default_rng(seed)
    n = 400
    target = rng.integers(0, 5, n)
    a, b = (np.where(rng.random(n) < p, target, (target + 1) % 5) for p in (0.8, 0.72))
    found = paired_permutation_test(target, a, b).pvalue
    low, high = mcnemar_bounds(n, float((a == target).mean()), float((b == target).mean()))
    assert low <= found <= high
    assert mcnemar_bounds(n, 0.8, 0.8)[0] == 1.0


def test_an_answer_within_the_reading_error_is_not_sure():
    score, error = np.array([0.500, 0.501]), np.array([0.002, 0.002])
    assert redrawn(lambda x: bool(x[1] > x[0]), score, error) < 0.95
    assert redrawn(lambda x: bool(x[1] > x[0]), np.array([0.5, 0.6]), error) == 1.0
    doubtful = np.array([False, True])
    assert redrawn(lambda x: bool(x[1] > x[0]), np.array([0.5, 0.6]), error, doubtful=doubtful) == 0.5
