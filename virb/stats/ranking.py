"""Who is best, and how sure is that: ranks over tasks with tests, intervals and stability."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special as scipy_special
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.correlation import adjust_p, score_table
from virb.stats.exact import settled
from virb.stats.row_ranks import row_ranks
from virb.stats.signed_rank import signed_rank_ps


@dataclass(frozen=True)
class Friedman:
    """Friedman's test that all encoders are equal, over tasks as blocks.

    ``f``, ``f_pvalue`` are Iman and Davenport's form (1980), the one to use: chi-square is too cautious. ``kendall_w``
    is the tasks' agreement about the order, 0 to 1. ``mean_ranks``: 1 is best.
    """

    statistic: float
    pvalue: float
    f: float
    f_pvalue: float
    kendall_w: float
    mean_ranks: pd.Series
    n_tasks: int


def task_ranks(scores: pd.DataFrame) -> pd.DataFrame:
    """Rank of each encoder on each task (encoders x tasks), 1 for the best, ties at their mean rank.

    Means over repeats that tie exactly tie here too, although their last bit differs.
    """
    rounded = pd.DataFrame(settled(scores.to_numpy(float)), index=scores.index, columns=scores.columns)
    return rounded.rank(axis=0, ascending=False, method="average")


def friedman(scores: pd.DataFrame) -> Friedman:
    """Friedman test over an encoders x tasks table, ties corrected.

    Raises:
        ScoresError: fewer than 3 encoders or 2 tasks, missing scores, or ties of all encoders on all tasks.
    """
    ranks = task_ranks(score_table(scores, may_be_constant=True))
    k, n = ranks.shape
    values = ranks.to_numpy()
    ties = sum(float(np.sum(c**3 - c)) for c in (np.unique(column, return_counts=True)[1] for column in values.T))
    correction = 1 - ties / (n * k * (k * k - 1))
    if correction <= 0:
        raise ScoresError("All encoders tie on every task, so they cannot be ranked.")
    chi2 = (12 / (n * k * (k + 1)) * float(np.sum(values.sum(axis=1) ** 2)) - 3 * n * (k + 1)) / correction
    chi2 = max(chi2, 0.0)
    w = min(chi2 / (n * (k - 1)), 1.0)
    is_unanimous = w > 1 - 1e-12
    f = np.inf if is_unanimous else (n - 1) * chi2 / (n * (k - 1) - chi2)
    # F is infinite where all tasks agree; the share of such orders among all is known (without ties).
    f_p = (
        np.exp((1 - n) * scipy_special.gammaln(k + 1))
        if is_unanimous
        else scipy_stats.f.sf(f, k - 1, (k - 1) * (n - 1))
    )
    return Friedman(
        chi2,
        float(scipy_stats.chi2.sf(chi2, k - 1)),
        float(f),
        float(f_p),
        w,
        ranks.mean(axis=1).sort_values(kind="stable"),
        n,
    )


def critical_difference(n_encoders: int, n_tasks: int, *, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks (Demšar 2006): q_alpha sqrt(k (k + 1) / (6 N))."""
    q = scipy_stats.studentized_range.ppf(1 - alpha, n_encoders, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_encoders * (n_encoders + 1) / (6 * n_tasks)))


def nemenyi(scores: pd.DataFrame, *, among: Collection[Any] | None = None) -> pd.DataFrame:
    """p of every pair of encoders by Nemenyi's test of mean ranks (encoders x encoders, 1 on the diagonal).

    Args:
        scores: encoders x tasks.
        among: the encoders whose pairs are asked for; all are ranked and counted.

    Raises:
        ScoresError: as :func:`friedman`. A missing score is refused, not ranked around.
    """
    ranks = task_ranks(score_table(scores, may_be_constant=True))
    of = ranks.mean(axis=1)
    of = of if among is None else of[of.index.isin(among)]
    mean = of.to_numpy()
    p = _nemenyi_ps(np.abs(mean[:, None] - mean), *ranks.shape)
    np.fill_diagonal(p, 1.0)
    return pd.DataFrame(p, index=of.index, columns=of.index)


def nemenyi_against(scores: pd.DataFrame, encoder: str) -> pd.Series:
    """The row of :func:`nemenyi` of one encoder, without itself: what it costs grows with the encoders, not with their pairs."""
    ranks = task_ranks(score_table(scores, may_be_constant=True))
    mean = ranks.mean(axis=1)
    p = _nemenyi_ps((mean - mean[encoder]).abs().to_numpy(), *ranks.shape)
    return pd.Series(p, index=ranks.index).drop(encoder)


def _nemenyi_ps(gaps: np.ndarray, k: int, n: int) -> np.ndarray:
    """p of gaps between mean ranks of ``k`` encoders on ``n`` tasks."""
    # Mean ranks are multiples of 1 / 2n, so that their gaps are few numbers, each of which costs an integral.
    values, where = np.unique(gaps.round(10), return_inverse=True)
    q = values / np.sqrt(k * (k + 1) / (6 * n))
    p: np.ndarray = np.minimum(scipy_stats.studentized_range.sf(q * np.sqrt(2), k, np.inf), 1.0)
    return p[where].reshape(gaps.shape)


@dataclass(frozen=True)
class PairTests:
    """Signed-rank tests of every pair of ``encoders``, in the order of ``np.triu_indices(k, 1)``: ``difference`` (mean over
    tasks), ``p`` and ``p_holm`` (M,)."""

    encoders: pd.Index
    difference: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray

    def table(self, among: Collection[Any] | None = None) -> pd.DataFrame:
        """encoder_a, encoder_b, difference, p, p_holm: a row a pair, or a pair of which both are ``among`` these."""
        rows, columns = np.triu_indices(len(self.encoders), 1)
        kept: slice | np.ndarray = slice(None)
        if among is not None:
            is_asked = self.encoders.isin(among)
            kept = np.flatnonzero(is_asked[rows] & is_asked[columns])
        return pd.DataFrame(
            {
                "encoder_a": self.encoders[rows[kept]],
                "encoder_b": self.encoders[columns[kept]],
                "difference": self.difference[kept],
                "p": self.p[kept],
                "p_holm": self.p_holm[kept],
            }
        )


def pair_tests(scores: pd.DataFrame) -> PairTests:
    """Wilcoxon signed-rank test of every pair of encoders over tasks, Holm-adjusted over the pairs.

    The size of differences is ranked across tasks, so that the tasks must be measured in one unit, or standardised.

    Raises:
        ScoresError: fewer than 2 encoders or 2 tasks, or missing scores.
    """
    table = score_table(scores, min_encoders=2, may_be_constant=True)
    values = table.to_numpy(float)
    k = len(values)
    difference, p = np.empty((2, k * (k - 1) // 2))
    start = 0
    for i in range(k - 1):  # a row of pairs at a time: the gaps of all of them are too many to hold
        gaps = values[i] - values[i + 1 :]
        end = start + len(gaps)
        difference[start:end], p[start:end] = gaps.mean(axis=1), signed_rank_ps(gaps)
        start = end
    return PairTests(table.index, difference, p, adjust_p(p, "holm"))


def holm_wilcoxon(scores: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`pair_tests` as a table: encoder_a, encoder_b, difference (mean over tasks), p, p_holm."""
    return pair_tests(scores).table()


@dataclass(frozen=True)
class Leader:
    """The encoder of the best mean rank against each other one: ``table`` has encoder, difference (mean over tasks) and p.

    ``least_p`` is the smallest p that an encoder better on every task would have.
    """

    name: str
    table: pd.DataFrame
    least_p: float


def leader_against_others(scores: pd.DataFrame, *, samples: int = 1_999, seed: int = 0) -> Leader:
    """Signed-rank tests of the leader against each other encoder, with its choice from these very scores repeated.

    Encoders are shuffled on every task, the leader of the shuffled scores is found, and its most extreme signed rank among
    the k - 1 others is what the observed ones are compared with (Westfall and Young 1993, single step). Holm's correction
    over k - 1 takes no notice of the choice and rejects .09 (5 encoders) to .20 (20 encoders) of true nulls for .05.

    Args:
        scores: encoders x tasks in one unit, or standardised.

    Raises:
        ScoresError: fewer than 2 encoders or 2 tasks, or missing scores.
    """
    table = score_table(scores, min_encoders=2, may_be_constant=True)
    values, ranks = settled(table.to_numpy(float)), task_ranks(table).to_numpy()
    k, n = values.shape

    def extremes(x: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The leader (B,) and min(W+, W-) of its differences from each other encoder (B, k); infinite for itself."""
        first = r.sum(axis=2).argmin(axis=1)
        gap = settled((np.take_along_axis(x, first[:, None, None], axis=1) - x).reshape(-1, n).T).T.reshape(x.shape)
        size = row_ranks(np.abs(gap))
        least = np.minimum((size * (gap > 0)).sum(axis=2), (size * (gap < 0)).sum(axis=2))
        # Where all differences are 0 both sums are: nothing is extreme in that.
        least = np.where((gap == 0).all(axis=2), np.inf, least)
        np.put_along_axis(least, first[:, None], np.inf, axis=1)
        return first, least

    first, observed = extremes(values[None], ranks[None])
    rng = np.random.default_rng(seed)
    drawn = []
    step = max(1, 500_000 // values.size)
    for start in range(0, samples, step):
        order = rng.permuted(np.broadcast_to(np.arange(k)[:, None], (min(step, samples - start), k, n)).copy(), axis=1)
        columns = np.arange(n)
        drawn.append(extremes(values[order, columns], ranks[order, columns])[1].min(axis=1))
    least = np.sort(np.concatenate(drawn))

    def p_of(statistic: np.ndarray | float) -> np.ndarray:
        return (1 + np.searchsorted(least, np.asarray(statistic) + 1e-9, side="right")) / (1 + samples)

    others = np.delete(np.arange(k), first[0])
    found = pd.DataFrame(
        {
            "encoder": table.index[others],
            "difference": (values[first[0]] - values[others]).mean(axis=1),
            "p": np.where(np.isinf(observed[0, others]), 1.0, p_of(observed[0, others])),
        }
    )
    return Leader(str(table.index[first[0]]), found, float(p_of(0.0)))


def cliques(mean_ranks: pd.Series, difference: float) -> list[tuple[str, ...]]:
    """Largest groups of encoders, neighbours in rank, whose mean ranks span less than the critical difference."""
    order = mean_ranks.sort_values(kind="stable")
    values = order.to_numpy(float)
    found: list[tuple[int, int]] = []
    for start in range(len(values)):
        end = int(np.searchsorted(values, values[start] + difference, side="left"))
        if end - start > 1 and not any(s <= start and end <= e for s, e in found):
            found.append((start, end))
    return [tuple(str(name) for name in order.index[s:e]) for s, e in found]
