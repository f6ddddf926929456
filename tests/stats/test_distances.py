"""Fréchet distance, VisualDNA and transfer affinity: references written out, hand cases, properties."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import statsmodels.formula.api as smf
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats import frechet_distance
from virb.stats.distances import ActivationHistograms, Moments, transfer_affinity, visual_dna_distance


def textbook(x: np.ndarray, y: np.ndarray) -> float:
    s, t = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(s @ t).real
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s + t - 2 * root))


def sets(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 1


def test_frechet_is_the_textbooks() -> None:
    x, y = sets(300, 200, 6)
    assert frechet_distance(x, y) == pytest.approx(textbook(x, y), rel=1e-8)


def test_streaming_is_the_same_even_far_from_the_origin() -> None:
    x, y = sets(300, 200, 6)
    one, two = Moments(6), Moments(6)
    for start in range(0, 300, 70):
        one.add(x[start : start + 70] + 1e6)
    two.add(y + 1e6)
    np.testing.assert_allclose(one.covariance, np.cov(x.T), rtol=1e-6, atol=1e-6)
    assert frechet_distance(one, two) == pytest.approx(textbook(x, y), rel=1e-6)


def test_few_images_of_many_dimensions_take_the_short_way_and_warn() -> None:
    x, y = sets(20, 30, 60)
    with pytest.warns(UserWarning, match="20 images of 60 dimensions"):
        short = frechet_distance(x, y)
    one, two = Moments(60), Moments(60)
    one.add(x)
    two.add(y)
    with pytest.warns(UserWarning, match="dimensions"):
        assert frechet_distance(one, two) == pytest.approx(short, rel=1e-6)


def test_frechet_by_hand_and_by_property() -> None:
    # One dimension: (m1 - m2)^2 + (s1 - s2)^2.
    x, y = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])
    assert frechet_distance(x, y) == pytest.approx(36 + (np.sqrt(2) - np.sqrt(8)) ** 2)
    a, b = sets(50, 60, 4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([3.0, 0, 0, 4])) == pytest.approx(25)


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        (np.zeros((5, 3)), np.zeros((5, 2)), "3 and 2"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "at least 2"),
        (np.array([[0.0, np.nan]] * 3), np.zeros((5, 2)), "image 0"),
        (np.zeros(5), np.zeros(5), "shape"),
    ],
)
def test_frechet_refusals(x: np.ndarray, y: np.ndarray, named: str) -> None:
    with pytest.raises(ScoresError, match=named):
        frechet_distance(x, y)
    with pytest.raises(ScoresError):
        Moments(3).mean  # noqa: B018


def test_visual_dna_is_scipys_earth_mover() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (500, 3)), rng.beta(2, 3, (400, 3))
    low, high = np.full(3, -1.0), np.full(3, 1.0)
    a, b = ActivationHistograms(low, high), ActivationHistograms(low, high)
    for start in range(0, 500, 128):
        a.add(x[start : start + 128])
    b.add(y)
    exact = np.mean([scipy_stats.wasserstein_distance(x[:, k], y[:, k]) for k in range(3)]) * 500  # bins of 1/500
    assert visual_dna_distance(a, b) == pytest.approx(exact, rel=0.01)
    assert visual_dna_distance(a, a) == 0


def test_visual_dna_by_hand_and_refusals() -> None:
    a, b = (ActivationHistograms(np.zeros(1), np.ones(1), bins=10) for _ in range(2))
    a.add(np.array([[0.05], [-3.0]]))  # clamped into the first bin
    b.add(np.array([[0.35], [0.35]]))
    assert visual_dna_distance(a, b) == pytest.approx(3)  # three bins further
    with pytest.raises(ScoresError):
        visual_dna_distance(a, ActivationHistograms(np.zeros(1), np.ones(1), bins=10))
    with pytest.raises(ScoresError):
        visual_dna_distance(a, ActivationHistograms(np.zeros(1), np.ones(1) * 2, bins=10))
    with pytest.raises(ScoresError):
        ActivationHistograms(np.ones(2), np.zeros(2))
    with pytest.raises(ScoresError):
        a.add(np.zeros((3, 2)))


def test_affinity_is_the_regression_with_target_effects() -> None:
    rng = np.random.default_rng(0)
    target = np.repeat(["a", "b", "c"], 5)
    distance = rng.uniform(0, 1, 15)
    score = np.repeat([1.0, 5, 9], 5) - 2 * distance + 0.1 * rng.normal(size=15)
    result = transfer_affinity(score, distance, target)
    fit = smf.ols("s ~ C(t) + d", pd.DataFrame({"s": score, "t": target, "d": distance})).fit()
    assert result.slope == pytest.approx(fit.params["d"])
    assert result.pvalue < 0.001
    assert not result.exact


def test_affinity_exact_p_is_every_permutation_within_target() -> None:
    score = np.array([3.0, 1, 2, 8, 9, 7])
    distance = np.array([0.1, 0.5, 0.2, 0.4, 0.3, 0.9])
    target = np.array([0, 0, 0, 1, 1, 1])
    y = score - np.repeat([2.0, 8.0], 3)
    values = [
        abs(y[:3] @ distance[list(p)] + y[3:] @ distance[[3 + i for i in q]])
        for p in itertools.permutations(range(3))
        for q in itertools.permutations(range(3))
    ]
    result = transfer_affinity(score, distance, target)
    assert result.exact
    assert result.pvalue == pytest.approx(np.mean(np.array(values) >= abs(y @ distance) - 1e-12))
    with pytest.raises(ScoresError, match="slope"):
        transfer_affinity(score, np.repeat([1.0, 2.0], 3), target)
    with pytest.raises(ScoresError, match="length"):
        transfer_affinity(score, distance[:3], target)


@pytest.mark.parametrize("rank", [12, 5])
def test_the_frechet_distance_of_moments_is_that_of_symmetric_roots(rank: int) -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(rank, 12))  # of rank 5 the covariance is singular
    x, y = rng.normal(size=(300, rank)) @ mixing, rng.normal(0.2, 1.3, size=(400, rank)) @ mixing
    one, two = Moments(12), Moments(12)
    one.add(x)
    two.add(y)
    s1, s2 = np.cov(x.T), np.cov(y.T)
    values, vectors = np.linalg.eigh(s1)
    half = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    root = np.sqrt(np.clip(np.linalg.eigvalsh(half @ s2 @ half), 0, None)).sum()
    offset = x.mean(axis=0) - y.mean(axis=0)
    expected = offset @ offset + np.trace(s1) + np.trace(s2) - 2 * root
    for found in (frechet_distance(one, two), frechet_distance(two, one)):
        assert found == pytest.approx(expected, rel=1e-6)
