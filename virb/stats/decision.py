"""Better, practically equal or worse: probabilities with a region of practical equivalence, over several sources of noise.

Benavoli, Corani, Demšar and Zaffalon, "Time for a change", JMLR 18(77), 2017: the question is not whether zero is excluded
but which is better and whether that matters. The region (rope) is declared before looking. Nadeau and Bengio 2003 for
repeats that share training images; Satterthwaite 1946 for sums of variances that are known each with its own precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.exact import settled


@dataclass(frozen=True)
class Areas:
    """Probabilities that a is better than b by more than the region, within it, and worse; they sum to 1."""

    better: float
    equal: float
    worse: float


def student_areas(location: float, scale: float, df: float, rope: float) -> Areas:
    """Areas of a Student posterior with ``df`` degrees of freedom beyond ``rope``, within it, and below ``-rope``.

    A scale of 0 is certainty: the answer is where the location lies.

    Raises:
        ScoresError: the region or the scale is negative.
    """
    if rope < 0 or scale < 0:
        raise ScoresError(f"A region of {rope} and a scale of {scale} describe no posterior.")
    if scale == 0:
        return Areas(float(location > rope), float(abs(location) <= rope), float(location < -rope))
    better = float(scipy_stats.t.sf((rope - location) / scale, df))
    worse = float(scipy_stats.t.cdf((-rope - location) / scale, df))
    return Areas(better, max(0.0, 1 - better - worse), worse)


def correlated_t(differences: np.ndarray, rope: float, *, rho: float = 0.0) -> Areas:
    """One task with repeats: the correlated Bayesian t test of the mean difference.

    Args:
        differences: (n,) a less b, repeat by repeat.
        rho: correlation of repeats: n_test / (n_test + n_train) for resampled splits, 0 where the split is shared and only
            seeds differ.

    Raises:
        ScoresError: fewer than 2 repeats, or rho outside [0, 1).
    """
    d = np.asarray(differences, float)
    if len(d) < 2 or not 0 <= rho < 1:
        raise ScoresError(
            f"{len(d)} repeats with a correlation of {rho} describe no posterior; 2 and [0, 1) are needed."
        )
    scale = np.sqrt(d.var(ddof=1) * (1 / len(d) + rho / (1 - rho)))
    return student_areas(float(d.mean()), float(scale), len(d) - 1, rope)


def signed_rank_areas(differences: np.ndarray, rope: float, *, samples: int = 20_000, seed: int = 0) -> Areas:
    """Many tasks, one difference each: shares of draws of the Bayesian signed-rank test that vote for each answer.

    Weights of the differences and of one pseudo-difference of 0 (prior weight .5) are Dirichlet; a draw votes for the
    largest of its three areas, which is no posterior mean of the areas. A sum that lies on the edge of the region counts
    half to either side: differences of printed scores do, and rounding must not decide where they belong.
    """
    z = np.concatenate([[0.0], settled(np.asarray(differences, float))])
    sums = settled((z[:, None] + z).ravel()).reshape(len(z), -1)
    edge = 2 * rope
    slack = 1e-9 * max(edge, float(np.abs(sums).max()), 1e-300)
    right, left = (np.where(np.abs(side - edge) <= slack, 0.5, side > edge) for side in (sums, -sums))
    weights = np.random.default_rng(seed).dirichlet(np.concatenate([[0.5], np.ones(len(z) - 1)]), size=samples)
    better, worse = (((weights @ side) * weights).sum(axis=1) for side in (right, left))
    areas = np.stack([better, 1 - better - worse, worse], axis=1)
    # Equal areas share the vote.
    top = areas >= areas.max(axis=1, keepdims=True) - 1e-12
    votes = (top / top.sum(axis=1, keepdims=True)).mean(axis=0)
    return Areas(*(float(vote) for vote in votes))


@dataclass(frozen=True)
class Term:
    """One source of noise in a mean: what it adds to its variance, and with how many degrees of freedom that is known."""

    name: str
    variance: float
    df: float


def satterthwaite(terms: Sequence[Term]) -> tuple[float, float]:
    """Standard error of a mean from its terms, and the degrees of freedom of their sum."""
    total = sum(term.variance for term in terms)
    if total <= 0:
        return 0.0, max((term.df for term in terms), default=1.0)
    below = sum(term.variance**2 / term.df for term in terms if term.variance > 0)
    return float(np.sqrt(total)), float(total**2 / below)


def half_width(df: float) -> float:
    """How many standard errors a 95% interval reaches to either side: Student's t at .975 with ``df`` degrees of freedom."""
    return float(scipy_stats.t.ppf(0.975, df))


def between_blocks(differences: np.ndarray, weights: np.ndarray, blocks: np.ndarray) -> Term | None:
    """What drawing other tasks (or other whole categories) adds to the variance of a weighted mean difference.

    Tasks of a category are not independent, so that its weighted mean is one number. A block's deviation from the mean has
    the variance v (1 - 2 w + sum w^2), which is divided out; the degrees of freedom are those of as many equal weights.

    Args:
        differences: (T,) a less b.
        weights: (T,) that sum to 1.
        blocks: (T,) 0, 1, ... category of each task, or each task its own.

    Returns:
        Term, or None where a single block has all the weight.
    """
    w = np.bincount(blocks, weights)
    held = w > 1e-12
    if held.sum() < 2:
        return None
    mean = float(weights @ differences)
    delta = np.bincount(blocks, weights * differences)[held] / w[held]
    w = w[held]
    spread = (w**2 * (delta - mean) ** 2 / (1 - 2 * w + (w**2).sum())).sum()
    return Term("tasks", float(spread), max(1.0, float((w**2).sum() ** 2 / (w**4).sum()) - 1))


def again_term(totals: np.ndarray, groups: Sequence[str], counts: Sequence[int]) -> Term | None:
    """What other seeds of pretraining add to the variance of a difference of means over ``counts`` of them.

    Args:
        totals: (E,) weighted mean of each encoder.
        groups: (E,) what each encoder is a pretraining of; the spread within groups is pooled.
        counts: pretrainings of the one side and of the other; one entry for a mean alone.

    Returns:
        Term, or None where no group has two encoders.
    """
    member = np.unique(np.asarray(groups, str), return_inverse=True)[1]
    size = np.bincount(member)
    rest = totals - (np.bincount(member, totals) / size)[member]
    df = int(len(totals) - len(size))
    if not df:
        return None
    return Term("pretraining seeds", float((rest**2).sum()) / df * sum(1 / n for n in counts), df)


def field_between_blocks(x: np.ndarray, weights: np.ndarray, blocks: np.ndarray) -> Term | None:
    """As :func:`between_blocks` for the weighted mean of each of k encoders: the spread of encoder x block, pooled over them.

    Args:
        x: (k, T) scores on one scale.
    """
    own = np.bincount(blocks, weights)
    if (own > 1e-12).sum() < 2:
        return None
    mean = x @ weights
    per = np.stack([x[:, blocks == b] @ weights[blocks == b] / own[b] for b in np.flatnonzero(own > 1e-12)], axis=1)
    own = own[own > 1e-12]
    rest = per - mean[:, None]
    rest = rest - rest.mean(axis=0)
    share = own**2 / (1 - 2 * own + (own**2).sum())
    of_blocks = (own**2).sum() ** 2 / (own**4).sum() - 1
    return Term("tasks", float((rest**2 @ share).sum() / (len(x) - 1)), max(1.0, (len(x) - 1) * of_blocks))


def probe_noise(repeats: Sequence[np.ndarray], weights: np.ndarray) -> Term | None:
    """What repeats of the probe add to an encoder's weighted mean, the draw that all encoders share being taken out.

    Args:
        repeats: for each task (k, K) scores of k encoders in K repeats, which are paired across encoders.
        weights: (T,) weight of each task.

    Returns:
        Term, or None where a task has fewer than 2 encoders or repeats.
    """
    terms = []
    for x, weight in zip(repeats, weights, strict=True):
        df = (x.shape[0] - 1) * (x.shape[1] - 1)
        if df < 1:
            return None
        rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
        terms.append(Term("", float(weight**2 * (rest**2).sum() / df / x.shape[1]), df))
    se, df_all = satterthwaite(terms)
    return Term("repeats of the probe", se**2, df_all)


def repeats_of_two(one: np.ndarray, other: np.ndarray, *, are_paired: bool) -> tuple[float, float]:
    """Variance of the difference of two means over repeats, and its degrees of freedom; NaN with fewer than 2 repeats.

    Repeats that share their draw are compared one by one: what the draw does to both is no noise in their difference.
    """
    if min(len(one), len(other)) < 2:
        return np.nan, np.nan
    if are_paired:
        return float((one - other).var(ddof=1) / len(one)), float(len(one) - 1)
    se, df = satterthwaite([Term("", float(x.var(ddof=1) / len(x)), len(x) - 1) for x in (one, other)])
    return se**2, df


def number_needed(
    fixed: Sequence[Term], shrinking: Sequence[Term], n: int, rope: float, *, most: int = 1000
) -> int | None:
    """The least number of tasks, seeds, ... with which the 95 % interval reaches no further than ``rope`` to either side.

    Args:
        fixed: terms that more of them do not change.
        shrinking: terms that go down as 1 / number; their degrees of freedom grow with it.
        n: how many there are now.

    Returns:
        The number, or None where even ``most`` are too few.
    """
    for number in range(2, most + 1):
        grown = [
            Term(t.name, t.variance * n / number, max(1.0, t.df * (number - 1) / max(n - 1, 1))) for t in shrinking
        ]
        se, df = satterthwaite([*fixed, *grown])
        if half_width(df) * se <= rope:
            return number
    return None


@dataclass(frozen=True)
class Field:
    """k encoders drawn towards their common mean: ``first`` P(best of all) of each (k,), and the posterior ``draws`` (B, k).

    ``shrunk`` is the mean share of a difference that is left: 1 where encoders differ by far more than noise, 0 where by
    noise alone.
    """

    first: np.ndarray
    draws: np.ndarray
    shrunk: float

    def against(self, leader: int, rope: float) -> np.ndarray:
        """(k, 3) probabilities that the leader is better, equal, worse than each."""
        gap = self.draws[:, [leader]] - self.draws
        better, worse = (gap > rope).mean(axis=0), (gap < -rope).mean(axis=0)
        return np.stack([better, 1 - better - worse, worse], axis=1)


def shrunken_field(means: np.ndarray, variance: float, df: float, *, draws: int = 4000, seed: int = 0) -> Field:
    """Posterior of k encoders' true means under one normal population, the spread of which is unknown.

    The leader of many is chosen from the same scores, and its lead is partly luck; a posterior that knows that encoders
    come from one population takes that out (Efron 2011), where each pair on its own does not. The spread tau has a
    half-Cauchy prior at the size of the noise (Gelman 2006); the variance of the noise is known with ``df`` degrees.

    Args:
        means: (k,) weighted means over tasks, k at least 2.
        variance: of the noise in a mean.
        df: of this variance.
    """
    m = np.asarray(means, float)
    k = len(m)
    rng = np.random.default_rng(seed)
    if variance <= 0:
        lead = (m == m.max()) / np.sum(m == m.max())
        return Field(lead, np.broadcast_to(m, (draws, k)), 1.0)
    noise = variance * df / rng.chisquare(df, size=draws)
    spread = float(m.var())
    grid = np.tan(np.pi / 2 * (np.arange(200) + 0.5) / 200)  # quantiles of the half-Cauchy: equal prior weight
    total = noise[:, None] * (1 + grid**2)  # (B, G): tau is measured in sds of the noise
    log = -0.5 * (k - 1) * np.log(total) - 0.5 * k * spread / total
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    # The noise's own posterior given the spread: draws are weighted by what they make of it.
    evidence = weight.mean(axis=1) * np.exp(log.max(axis=1) - log.max())
    row = rng.choice(draws, size=draws, p=evidence / evidence.sum())
    cumulated = np.cumsum(weight[row], axis=1)
    column = (rng.uniform(size=(draws, 1)) * cumulated[:, -1:] < cumulated).argmax(axis=1)
    keep = grid[column] ** 2 / (1 + grid[column] ** 2)
    sd = np.sqrt(noise[row])
    centre = m.mean() + sd * np.sqrt((1 + grid[column] ** 2) / k) * rng.normal(size=draws)
    drawn = centre[:, None] + keep[:, None] * (m - centre[:, None])
    drawn = drawn + (sd * np.sqrt(keep))[:, None] * rng.normal(size=(draws, k))
    first = np.bincount(drawn.argmax(axis=1), minlength=k) / draws
    return Field(first, drawn, float(keep.mean()))
