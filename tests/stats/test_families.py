"""Correlations where encoders come in families: under the null, with power, by hand, and by property."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats import correlation_matrix
from virb.stats.families import between_families, family_codes, family_jackknife, largest_below_one


def study(sizes: list[int], *, shared: float, slope: float = 0.0, tasks: int = 12, seed: int = 0) -> np.ndarray:
    """Scores of unrelated tasks (or related by ``slope`` to a common one), ``shared`` of the variance between families."""
    rng = np.random.default_rng(seed)
    member = np.repeat(np.arange(len(sizes)), sizes)

    def drawn(n: int) -> np.ndarray:
        family, own = rng.normal(size=(len(sizes), n)), rng.normal(size=(len(member), n))
        return np.sqrt(shared) * family[member] + np.sqrt(1 - shared) * own

    return slope * drawn(1) + drawn(tasks)


def rejected(sizes: list[int], method: str, *, repeats: int = 12, **how: float) -> np.ndarray:
    member = np.repeat(np.arange(len(sizes)), sizes)
    found = []
    for seed in range(repeats):
        x = pd.DataFrame(study(sizes, seed=seed, **how))  # type: ignore[arg-type]
        result = correlation_matrix(x, method, interval="jackknife", clusters=list(member))
        low, high, p = (frame.to_numpy()[np.triu_indices(12, 1)] for frame in (result.low, result.high, result.p))
        found.append(np.stack([p <= 0.05, (low > 0) | (high < 0)], axis=1))
    return np.concatenate(found).mean(axis=0)


# Student's p rejects .16 to .26 of these and resampled families .09 to .13 (the pairs of 12 tasks are not independent:
# the tolerance is 3 sd of 12 studies, found by running 40).
@pytest.mark.parametrize("sizes", [[5] * 6, [3] * 16, [1, 1, 1, 2, 2, 3, 3, 5, 6, 8]], ids=["6x5", "16x3", "unequal"])
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_unrelated_tasks_of_families_are_found_related_as_often_as_said(method: str, sizes: list[int]) -> None:
    p, interval = rejected(sizes, method, shared=0.67)
    assert p <= 0.05 + 0.027
    assert interval <= 0.05 + 0.027


def test_counting_encoders_finds_what_is_not_there() -> None:
    """The failure that families are for: if this falls to .05, the tests above have no force."""
    found = []
    for seed in range(12):
        p = correlation_matrix(pd.DataFrame(study([5] * 6, shared=0.67, seed=seed))).p.to_numpy()
        found.append(np.mean(p[np.triu_indices(12, 1)] <= 0.05))
    assert np.mean(found) > 0.17


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_related_tasks_are_found_across_families(method: str) -> None:
    p, _ = rejected([3] * 12, method, shared=0.67, slope=1.5)
    assert p > 0.65


def test_intervals_cover_a_correlation_that_is_there() -> None:
    covers = []
    for seed in range(20):
        x = study([4] * 10, shared=0.5, slope=1.0, tasks=6, seed=seed)
        found = correlation_matrix(pd.DataFrame(x), interval="jackknife", clusters=list(np.repeat(np.arange(10), 4)))
        covers.append(((found.low < 0.5) & (found.high > 0.5)).to_numpy()[np.triu_indices(6, 1)])
    assert np.mean(covers) >= 0.95 - 0.05


def test_jackknife_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, member = rng.normal(size=(9, 2)), np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    found = family_jackknife(x, list(member), lambda rows: np.corrcoef(rows.T))
    z = np.arctanh(np.corrcoef(x.T)[0, 1])
    without = np.array([np.arctanh(np.corrcoef(x[member != g].T)[0, 1]) for g in range(4)])
    se = np.sqrt(3 / 4 * np.sum((without - without.mean()) ** 2))
    assert found.p[0] == pytest.approx(2 * scipy_stats.t.sf(abs(z) / se, 3))
    assert found.low[0] == pytest.approx(np.tanh(z - scipy_stats.t.ppf(0.975, 3) * se))
    assert (found.n_families, found.effective) == (4, pytest.approx(81 / (9 + 4 + 9 + 1)))


def test_families_never_make_a_correlation_surer_than_encoders_would() -> None:
    for seed in range(5):
        x = pd.DataFrame(study([2, 1, 1, 1, 1], shared=0.0, seed=seed))
        plain = correlation_matrix(x, "spearman")
        held = correlation_matrix(x, "spearman", interval="jackknife", clusters=[0, 0, 1, 2, 3, 4][: len(x)])
        assert (held.p >= plain.p).to_numpy().all()
        assert (held.low <= plain.low).to_numpy().all()
        assert (held.high >= plain.high).to_numpy().all()
    line = pd.DataFrame({"a": np.arange(6.0), "b": np.arange(6.0) ** 3})  # every left-out rho is 1: no spread at all
    found = correlation_matrix(line, "spearman", interval="jackknife", clusters=[0, 0, 1, 2, 3, 4])
    assert found.p.loc["a", "b"] == pytest.approx(2 / 720)
    assert found.low.loc["a", "b"] < 0.9


def test_a_family_that_alone_makes_a_task_vary_leaves_nothing_to_say() -> None:
    x = pd.DataFrame({"a": [1.0, 1, 1, 1, 2, 3], "b": [1.0, 2, 3, 4, 5, 6]})
    found = correlation_matrix(x, interval="jackknife", clusters=[0, 0, 1, 1, 2, 2])
    assert found.p.loc["a", "b"] == 1
    assert (found.low.loc["a", "b"], found.high.loc["a", "b"]) == (-1, 1)


def test_between_and_within_sum_to_r() -> None:
    rng = np.random.default_rng(0)
    member = np.array([0, 0, 0, 1, 1, 2])
    x = rng.normal(size=(6, 2))
    means = np.stack([x[member == g].mean(axis=0) for g in range(3)])[member]
    residual = x - means
    between = between_families(x, list(member))
    eta = [np.var(means[:, t]) / np.var(x[:, t]) for t in range(2)]
    r_between, r_within = np.corrcoef(means.T)[0, 1], np.corrcoef(residual.T)[0, 1]
    assert between[0, 1] == pytest.approx(r_between * np.sqrt(eta[0] * eta[1]))
    np.testing.assert_allclose(np.diag(between), eta)
    r = np.corrcoef(x.T)[0, 1]
    assert r - between[0, 1] == pytest.approx(r_within * np.sqrt((1 - eta[0]) * (1 - eta[1])))


def test_refusals_name_the_families() -> None:
    with pytest.raises(ScoresError, match="2 families \\(a, b\\)"):
        family_codes(["a", "a", "b"], 3)
    with pytest.raises(ScoresError, match="names 2 encoders"):
        family_codes(["a", "b"], 3)
    x = pd.DataFrame(study([2, 2, 2], shared=0.5))
    with pytest.raises(ScoresError, match="holm"):
        correlation_matrix(x, interval="jackknife", clusters=[0, 0, 1, 1, 2, 2], adjustment="max")
    assert largest_below_one(4) == pytest.approx(0.8)
