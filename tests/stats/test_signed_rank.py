"""The signed-rank test against all signs written out, and what a correction leaves possible."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.stats.ranking import holm_wilcoxon, task_ranks
from virb.stats.signed_rank import signed_rank_p, signed_rank_ps, smallest_holm_p

WORKED = pd.DataFrame(
    [
        [0.90, 0.85, 0.70, 0.66, 0.81, 0.77],
        [0.88, 0.86, 0.65, 0.60, 0.80, 0.70],
        [0.80, 0.79, 0.66, 0.61, 0.70, 0.71],
        [0.79, 0.70, 0.60, 0.55, 0.72, 0.69],
    ],
    index=list("ABCD"),
)


def by_signs(gap: np.ndarray) -> float:
    gap = gap[gap != 0]
    ranks = scipy_stats.rankdata(np.abs(gap).round(12))
    observed = abs(float(ranks @ np.sign(gap)))
    drawn = [abs(float(ranks @ np.array(signs))) for signs in itertools.product((-1, 1), repeat=len(gap))]
    return float(np.mean(np.array(drawn) >= observed - 1e-9))


@pytest.mark.parametrize("digits", [9, 1])  # one digit makes ties and zeros
def test_p_is_the_share_of_all_signs(digits: int) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 3, 6, 10):
        gap = (rng.normal(size=n) + 0.4).round(digits)
        assert signed_rank_p(gap) == pytest.approx(by_signs(gap) if np.any(gap) else 1.0)


def test_p_without_ties_is_scipys() -> None:
    rng = np.random.default_rng(1)
    for n in (8, 25, 50, 80):
        gap = rng.normal(size=n) + 0.2
        assert signed_rank_p(gap) == pytest.approx(scipy_stats.wilcoxon(gap).pvalue)


def test_printed_differences_that_tie_share_their_rank() -> None:
    exact = np.array([0.02, 0.02, 0.02, -0.02])
    printed = np.array([0.80 - 0.78, 0.82 - 0.80, 0.52 - 0.50, 0.70 - 0.72])
    assert len(set(np.abs(printed))) > 1
    assert signed_rank_p(printed) == signed_rank_p(exact)


def test_worked_example() -> None:
    pairs = holm_wilcoxon(WORKED)
    assert pairs["p"].tolist() == [0.09375, 0.03125, 0.03125, 0.4375, 0.03125, 0.125]
    np.testing.assert_allclose(pairs["p_holm"], [0.28125, 0.1875, 0.1875, 0.4375, 0.1875, 0.28125])
    alone = holm_wilcoxon(WORKED, leader="A")
    assert alone[["encoder_a", "encoder_b"]].to_numpy().tolist() == [["A", "B"], ["A", "C"], ["A", "D"]]
    assert alone["p_holm"].tolist() == [0.09375] * 3


@pytest.mark.parametrize(
    ("k", "all_pairs", "leader"), [(3, 7, 7), (5, 9, 8), (7, 10, 8), (10, 11, 9), (20, 13, 10), (30, 15, 11)]
)
def test_tasks_needed_for_a_twentieth_to_be_possible(k: int, all_pairs: int, leader: int) -> None:
    for needed, m in ((all_pairs, k * (k - 1) // 2), (leader, k - 1)):
        assert smallest_holm_p(needed, m) < 0.05 <= smallest_holm_p(needed - 1, m)


def test_the_leader_of_equal_encoders_is_told_apart_no_more_often_than_said() -> None:
    """Chosen from the same scores, yet over k - 1 comparisons Holm's correction holds (250 studies of five encoders)."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(250):
        study = pd.DataFrame(rng.normal(size=(5, 12)))
        leader = task_ranks(study).mean(axis=1).idxmin()
        found.append(holm_wilcoxon(study, leader=leader)["p_holm"].min() <= 0.05)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 250)


def test_a_leader_who_wins_everywhere_is_told_from_all() -> None:
    rng = np.random.default_rng(0)
    study = pd.DataFrame(rng.normal(size=(7, 9)))
    study.loc[0] += 10
    assert (holm_wilcoxon(study, leader=0)["p_holm"] < 0.05).all()  # six comparisons: 6 x 2 / 2^9
    assert (holm_wilcoxon(study)["p_holm"] >= 0.05).all()  # 21 pairs over nine tasks: impossible


def test_many_at_once_are_each_alone() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 7, 21, 60):
        gaps = rng.normal(0, 1, (80, n))
        gaps[20:50] = np.round(gaps[20:50], 1)  # ties and zeros
        gaps[50:60] = np.round(gaps[50:60])
        gaps[60] = 0.0
        gaps[61, 1:] = 0.0
        alone = [signed_rank_p(gap) for gap in gaps]
        assert signed_rank_ps(gaps).tolist() == alone
    assert signed_rank_ps(np.zeros((0, 3))).shape == (0,)
