"""The signed-rank test against all signs written out, and what a correction leaves possible."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.stats.ranking import holm_wilcoxon, leader_against_others
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
    against = leader_against_others(WORKED)
    assert against.name == "A"
    assert against.table["encoder"].tolist() == ["B", "C", "D"]
    assert against.table["p"].tolist() == sorted(against.table["p"], reverse=True)  # B is nearest
    assert 3 * 2 / 64 < against.least_p < 0.25  # the choice costs more than Holm's three comparisons


@pytest.mark.parametrize(
    ("k", "all_pairs", "leader"), [(3, 7, 7), (5, 9, 8), (7, 10, 8), (10, 11, 9), (20, 13, 10), (30, 15, 11)]
)
def test_tasks_needed_for_a_twentieth_to_be_possible(k: int, all_pairs: int, leader: int) -> None:
    for needed, m in ((all_pairs, k * (k - 1) // 2), (leader, k - 1)):
        assert smallest_holm_p(needed, m) < 0.05 <= smallest_holm_p(needed - 1, m)


def test_the_leader_of_equal_encoders_is_told_apart_no_more_often_than_said() -> None:
    """200 studies of eight encoders; Holm over k - 1, which takes no notice of the choice, rejects one in ten."""
    rng = np.random.default_rng(0)
    found = [
        leader_against_others(pd.DataFrame(rng.normal(size=(8, 12))), samples=199).table["p"].min() <= 0.05
        for _ in range(200)
    ]
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(found) > 0


def test_a_leader_who_wins_everywhere_is_told_from_all() -> None:
    rng = np.random.default_rng(0)
    study = pd.DataFrame(rng.normal(size=(7, 10)))
    study.loc[0] += 10
    against = leader_against_others(study)
    assert (against.table["p"] < 0.05).all()
    assert against.table["p"].to_numpy() == pytest.approx(against.least_p)
    nine = study[list(range(9))]
    assert (holm_wilcoxon(nine)["p_holm"] >= 0.05).all()  # 21 pairs over nine tasks: impossible
    twins = pd.DataFrame([[1.0, 2, 3], [1.0, 2, 3]])
    assert leader_against_others(twins).table["p"].tolist() == [1]


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
