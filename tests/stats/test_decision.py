"""Better, equal, worse: against baycomp's numbers, loops, closed forms, and simulated truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.decision import (
    Term,
    again_term,
    between_blocks,
    correlated_t,
    field_between_blocks,
    number_needed,
    probe_noise,
    repeats_of_two,
    satterthwaite,
    shrunken_field,
    signed_rank_areas,
    student_areas,
)

A = np.array([0.82, 0.75, 0.91, 0.66, 0.58, 0.73, 0.88, 0.69])
B = np.array([0.80, 0.76, 0.88, 0.63, 0.57, 0.70, 0.88, 0.66])


def test_correlated_t_is_baycomps() -> None:
    x, y = np.array([0.80, 0.79, 0.82, 0.81, 0.80]), np.array([0.79, 0.79, 0.80, 0.80, 0.80])
    found = correlated_t(x - y, 0.005, rho=1 / 5)
    assert np.allclose([found.better, found.equal, found.worse], [0.6893, 0.2699, 0.0407], atol=5e-5)
    for wrong in (x[:1], x):
        with pytest.raises(ScoresError, match="describe no posterior"):
            correlated_t(wrong, 0.005, rho=1.0)


@pytest.mark.parametrize(
    ("rope", "areas"), [(0.005, (0.970, 0.028, 0.003)), (0.010, (0.889, 0.110, 0.001)), (0.015, (0.666, 0.334, 0.000))]
)
def test_the_region_decides_more_than_the_method(rope: float, areas: tuple[float, ...]) -> None:
    d = A - B
    found = student_areas(float(d.mean()), float(d.std(ddof=1) / np.sqrt(8)), 7, rope)
    assert np.allclose([found.better, found.equal, found.worse], areas, atol=6e-4)
    assert student_areas(0.02, 0.0, 1, 0.01).better == 1
    with pytest.raises(ScoresError, match="no posterior"):
        student_areas(0.0, 1.0, 3, -0.1)


def test_signed_rank_votes_are_a_loops_and_rounding_does_not_decide() -> None:
    def loop(d: np.ndarray, rope: float, samples: int) -> np.ndarray:
        rng = np.random.default_rng(1)
        z = [0.0, *d]
        votes = np.zeros(3)
        for _ in range(samples):
            w = rng.dirichlet([0.5] + [1.0] * len(d))
            areas = np.zeros(3)
            for i in range(len(z)):
                for j in range(len(z)):
                    s = z[i] + z[j]
                    areas[0 if s > 2 * rope else 2 if s < -2 * rope else 1] += w[i] * w[j]
            votes[areas.argmax()] += 1
        return votes / samples

    found = signed_rank_areas(A - B, 0.012, samples=20_000)
    assert np.allclose([found.better, found.equal, found.worse], loop(A - B, 0.012, 3000), atol=0.03)
    # .03 + 0 lies on the edge of twice .015, whatever its last bit is.
    edge = signed_rank_areas(A - B, 0.015), signed_rank_areas(np.round(A - B, 2), 0.015)
    assert edge[0] == edge[1]
    mirrored = signed_rank_areas(B - A, 0.015)
    assert np.allclose([mirrored.worse, mirrored.equal], [edge[0].better, edge[0].equal], atol=0.02)


def test_terms_add_and_their_precision_is_satterthwaites() -> None:
    se, df = satterthwaite([Term("a", 4.0, 2), Term("b", 1.0, np.inf)])
    assert se == np.sqrt(5)
    assert df == 25 / 8
    assert satterthwaite([Term("a", 0.0, 3)]) == (0.0, 3)


def test_blocks_of_equal_weight_are_a_t_test_and_unequal_ones_are_unbiased() -> None:
    d = A - B
    term = between_blocks(d, np.full(8, 1 / 8), np.arange(8))
    assert term is not None
    assert np.isclose(term.variance, d.var(ddof=1) / 8)
    assert term.df == 7
    by_category = between_blocks(d, np.full(8, 1 / 8), np.repeat([0, 1, 2, 3], 2))
    assert by_category is not None
    assert np.isclose(by_category.variance, d.reshape(4, 2).mean(axis=1).var(ddof=1) / 4)
    assert between_blocks(d, np.full(8, 1 / 8), np.zeros(8, int)) is None
    rng = np.random.default_rng(0)
    w = np.array([0.5, 0.2, 0.2, 0.1])
    draws = rng.normal(size=(4000, 4))
    terms = [between_blocks(row, w, np.arange(4)) for row in draws]
    assert np.isclose(np.mean([t.variance for t in terms if t]), (w**2).sum(), rtol=0.05)
    field = field_between_blocks(draws[:400], w, np.arange(4))
    assert field is not None
    assert np.isclose(field.variance, (w**2).sum(), rtol=0.1)
    assert field_between_blocks(draws[:3], w, np.zeros(4, int)) is None


def test_repeats_that_share_a_draw_are_paired() -> None:
    rng = np.random.default_rng(2)
    draw = rng.normal(size=6)
    one, other = draw + 0.1 * rng.normal(size=6), draw + 0.1 * rng.normal(size=6)
    paired, df = repeats_of_two(one, other, are_paired=True)
    alone, df_alone = repeats_of_two(one, other, are_paired=False)
    assert np.isclose(paired, (one - other).var(ddof=1) / 6)
    assert df == 5
    assert alone > 10 * paired
    assert 5 <= df_alone <= 10
    assert np.isnan(repeats_of_two(one[:1], other, are_paired=False)[0])
    many = [draw[None] + 0.1 * rng.normal(size=(200, 6)) for _ in range(3)]
    noise = probe_noise(many, np.full(3, 1 / 3))
    assert noise is not None
    assert np.isclose(noise.variance, 0.01 / 6 / 3, rtol=0.1)
    assert probe_noise([draw[None]], np.ones(1)) is None


def test_pretraining_seeds_are_pooled_over_groups() -> None:
    totals = np.array([1.0, 1.2, 2.0, 2.4, 5.0])
    term = again_term(totals, ["a", "a", "b", "b", "c"], (2, 1))
    assert term is not None
    assert np.isclose(term.variance, (0.02 + 0.08) / 2 * 1.5)
    assert term.df == 2
    assert again_term(totals, list("abcde"), (1, 1)) is None


def test_number_needed_is_where_the_interval_fits() -> None:
    term = Term("tasks", 0.04 / 8, 7)
    found = number_needed([], [term], 8, 0.1)
    assert found is not None

    def half(n: int) -> float:
        return float(scipy_stats.t.ppf(0.975, n - 1) * np.sqrt(0.04 / n))

    assert half(found) <= 0.1 < half(found - 1)
    assert number_needed([Term("other", 1.0, 9)], [term], 8, 0.1) is None


def test_a_field_without_differences_has_no_leader_and_one_with_large_ones_has() -> None:
    flat = shrunken_field(np.array([0.1, 0.0, -0.1, 0.02, -0.02]), 0.01, 32)
    assert flat.first.max() < 0.45
    assert flat.shrunk < 0.4
    clear = shrunken_field(np.array([1.0, 0.0, -1.0]), 0.0001, 20)
    assert clear.first[0] > 0.99
    assert clear.shrunk > 0.9
    areas = clear.against(0, 0.01)
    assert np.allclose(areas.sum(axis=1), 1)
    assert areas[0, 1] == 1
    assert shrunken_field(np.array([1.0, 1.0, 0.0]), 0.0, 3).first.tolist() == [0.5, 0.5, 0.0]


def test_the_posterior_of_a_field_covers_the_truth() -> None:
    """Encoders from one normal population: intervals of the leader's lead hold the truth, though it was chosen."""
    rng = np.random.default_rng(3)
    inside, naive = [], []
    for _ in range(200):
        truth = 0.5 * rng.normal(size=8)
        seen = truth + 0.5 * rng.normal(size=8)
        variance = 0.25 * rng.chisquare(40) / 40
        field = shrunken_field(seen, variance, 40, draws=800, seed=int(rng.integers(1 << 30)))
        lead = int(seen.argmax())
        gap = field.draws[:, lead] - np.delete(field.draws, lead, axis=1).mean(axis=1)
        real = truth[lead] - np.delete(truth, lead).mean()
        low, high = np.percentile(gap, (2.5, 97.5))
        inside.append(low <= real <= high)
        naive.append(abs(seen[lead] - np.delete(seen, lead).mean() - real) <= 1.96 * np.sqrt(variance * (1 + 1 / 7)))
    assert np.mean(inside) > 0.92
    assert np.mean(naive) < 0.9
