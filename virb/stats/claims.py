"""Answers to a sentence from a small table: intervals over few units, exact tests, and readings that may be wrong.

Nothing here assumes more units than there are: a mean of G values has Student's interval on G - 1 degrees of freedom, an
order or a labelling is tested against all others, and what a reading error could change is drawn again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats as scipy_stats


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of independent values and its interval by Student's t; infinite for one value alone.

    >>> [round(x, 3) for x in mean_interval([0.016, 0.015, 0.002])]
    [0.011, -0.008, 0.03]
    """
    x = np.asarray(values, float)
    mean = float(x.mean())
    if len(x) < 2:
        return mean, -math.inf, math.inf
    half = float(scipy_stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return mean, mean - half, mean + half


def difference_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Mean of ``a`` less mean of ``b`` and its 95 % interval by Welch's t."""
    x, y = np.asarray(a, float), np.asarray(b, float)
    gap = float(x.mean() - y.mean())
    if min(len(x), len(y)) < 2:
        return gap, -math.inf, math.inf
    v, w = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    if v + w == 0:
        return gap, gap, gap
    df = (v + w) ** 2 / (v**2 / (len(x) - 1) + w**2 / (len(y) - 1))
    half = float(scipy_stats.t.ppf(0.975, df) * math.sqrt(v + w))
    return gap, gap - half, gap + half


def jackknife(
    compute: Callable[[np.ndarray], float], groups: Sequence[object], *, transformed: bool = False
) -> tuple[float, float, float]:
    """A statistic and its 95 % interval from leaving out each group in turn, Student's t on G - 1 degrees of freedom.

    Args:
        compute: rows (indices) -> the statistic of those rows.
        groups: group of every row; rows of one group depend on each other.
        transformed: the statistic is a correlation, or a mean of some: the interval is of Fisher's z.
    """
    labels, member = np.unique([str(group) for group in groups], return_inverse=True)
    rows = np.arange(len(member))
    g = len(labels)
    estimate = float(compute(rows))
    if g < 3:
        return estimate, -math.inf, math.inf
    there: Callable[[float], float] = (lambda r: math.atanh(max(min(r, 0.999999), -0.999999))) if transformed else float
    back: Callable[[float], float] = math.tanh if transformed else float
    left = np.array([there(compute(rows[member != k])) for k in range(g)])
    se = math.sqrt((g - 1) / g * float(((left - left.mean()) ** 2).sum()))
    half = float(scipy_stats.t.ppf(0.975, g - 1)) * se
    return estimate, back(there(estimate) - half), back(there(estimate) + half)


def labelling_p(values: Sequence[float], is_inside: Sequence[bool], *, samples: int = 20_000, seed: int = 0) -> float:
    """Two-sided p of the difference between the means of two sets of tasks, their labels exchanged in all ways.

    >>> labelling_p([0.9, 0.8, 0.85, 0.1, 0.2, 0.15], [True, True, True, False, False, False])
    0.1
    """
    x, inside = np.asarray(values, float), np.asarray(is_inside, bool)
    n, k = len(x), int(inside.sum())
    total = x.sum()

    def gap(sums: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(sums / k - (total - sums) / (n - k)))

    observed = float(gap(np.array([x[inside].sum()]))[0])
    if math.comb(n, k) <= samples:
        sums = np.array([x[list(chosen)].sum() for chosen in itertools.combinations(range(n), k)])
        return float((gap(sums) >= observed - 1e-12).mean())
    rng = np.random.default_rng(seed)
    sums = x[rng.permuted(np.broadcast_to(np.arange(n), (samples, n)).copy(), axis=1)[:, :k]].sum(axis=1)
    return float((1 + (gap(sums) >= observed - 1e-12).sum()) / (1 + samples))


def sign_p(positive: int, n: int) -> float:
    """Two-sided p of ``positive`` of ``n`` independent differences having one sign.

    >>> sign_p(4, 4)
    0.125
    """
    return float(scipy_stats.binomtest(positive, n).pvalue) if n else 1.0


def share_interval(k: int, n: int) -> tuple[float, float, float]:
    """A share and its exact 95 % interval (Clopper and Pearson)."""
    found = scipy_stats.binomtest(k, n).proportion_ci(0.95, "exact")
    return k / n, float(found.low), float(found.high)


def mcnemar_bounds(n: int, score_a: float, score_b: float) -> tuple[float, float]:
    """The smallest and largest exact p that two accuracies on the same ``n`` examples can have.

    Only the two shares are printed, not on how many examples exactly one of the two is right. That is at least their
    difference, and at most all errors of both (as if no example fooled both).

    >>> [round(p, 3) for p in mcnemar_bounds(25_250, 0.894, 0.887)]
    [0.0, 0.018]
    """
    gap = round(abs(score_a - score_b) * n)
    right_a, right_b = round(score_a * n), round(score_b * n)
    most = min(right_a, n - right_b) + min(right_b, n - right_a)
    most -= (most - gap) % 2

    def p(discordant: int) -> float:
        if discordant == 0:
            return 1.0
        fewer = (discordant - gap) // 2
        return min(1.0, 2.0 * float(scipy_stats.binom.cdf(fewer, discordant, 0.5)))

    return p(gap), p(max(most, gap))


def redrawn(
    ask: Callable[[np.ndarray], object],
    score: Sequence[float],
    error: Sequence[float],
    *,
    doubtful: Sequence[bool] | None = None,
    draws: int = 200,
    seed: int = 0,
) -> float:
    """The share of redrawn tables that give the same answer as the table that is printed.

    Every score is moved by up to its error (uniformly); in every second draw the doubtful readings are left out (NaN).

    Args:
        ask: scores -> an answer that can be compared.
    """
    rng = np.random.default_rng(seed)
    x, e = np.asarray(score, float), np.asarray(error, float)
    first = ask(x)
    same = 0
    for k in range(draws):
        moved = x + rng.uniform(-1, 1, len(x)) * e
        if doubtful is not None and k % 2:
            moved[np.asarray(doubtful, bool)] = np.nan
        same += ask(moved) == first
    return same / draws


def effective_encoders(sizes: Sequence[int], share: float) -> float:
    """How many independent encoders families of these sizes are worth, ``share`` of the variance lying between them (Kish).

    >>> round(effective_encoders([14, 14, 1, 1], 2 / 3), 1)
    3.3
    """
    n = np.asarray(sizes, float)
    return float(n.sum() / (1 + ((n**2).sum() / n.sum() - 1) * share))


def side(low: float, high: float, at: float = 0.0) -> int:
    """1 where an interval lies above ``at``, -1 where below, 0 where it holds it."""
    return 1 if low > at else -1 if high < at else 0
