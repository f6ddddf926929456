"""Who is best, and how sure is that: ranks over tasks with tests, intervals and stability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.correlation import adjust_p, score_table
from virb.stats.exact import settled


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
    f_p = 0.0 if is_unanimous else float(scipy_stats.f.sf(f, k - 1, (k - 1) * (n - 1)))
    return Friedman(
        chi2,
        float(scipy_stats.chi2.sf(chi2, k - 1)),
        float(f),
        f_p,
        w,
        ranks.mean(axis=1).sort_values(kind="stable"),
        n,
    )


def critical_difference(n_encoders: int, n_tasks: int, *, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks (Demšar 2006): q_alpha sqrt(k (k + 1) / (6 N))."""
    q = scipy_stats.studentized_range.ppf(1 - alpha, n_encoders, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_encoders * (n_encoders + 1) / (6 * n_tasks)))


def nemenyi(scores: pd.DataFrame) -> pd.DataFrame:
    """p of every pair of encoders by Nemenyi's test of mean ranks (encoders x encoders, 1 on the diagonal).

    Raises:
        ScoresError: as :func:`friedman`. A missing score is refused, not ranked around.
    """
    ranks = task_ranks(score_table(scores, may_be_constant=True))
    k, n = ranks.shape
    mean = ranks.mean(axis=1).to_numpy()
    q = np.abs(mean[:, None] - mean) / np.sqrt(k * (k + 1) / (6 * n))
    p = scipy_stats.studentized_range.sf(q * np.sqrt(2), k, np.inf)
    np.fill_diagonal(p, 1.0)
    return pd.DataFrame(np.minimum(p, 1.0), index=ranks.index, columns=ranks.index)


def holm_wilcoxon(scores: pd.DataFrame) -> pd.DataFrame:
    """Wilcoxon signed-rank test of every pair of encoders over tasks, Holm-adjusted over the pairs.

    Returns:
        DataFrame: encoder_a, encoder_b, difference (mean over tasks), p, p_holm.

    Raises:
        ScoresError: as :func:`friedman`.
    """
    table = score_table(scores, min_encoders=2, may_be_constant=True)
    rows = []
    for i in range(len(table)):
        for j in range(i + 1, len(table)):
            gap = table.iloc[i].to_numpy(float) - table.iloc[j].to_numpy(float)
            p = 1.0 if not np.any(gap) else float(scipy_stats.wilcoxon(gap).pvalue)
            rows.append((table.index[i], table.index[j], float(gap.mean()), p))
    out = pd.DataFrame(rows, columns=["encoder_a", "encoder_b", "difference", "p"])
    out["p_holm"] = adjust_p(out["p"].to_numpy(), "holm")
    return out


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


def rank_bootstrap(
    scores: pd.DataFrame,
    *,
    top: int = 3,
    confidence: float = 0.95,
    resamples: int = 10_000,
    groups: pd.Series | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank of every encoder by mean rank over tasks, with intervals and P(rank <= top) from resampled tasks.

    Args:
        scores: encoders x tasks.
        top: size of the top group.
        groups: category of each task; tasks are then resampled within their category, so that each keeps its weight.

    Returns:
        DataFrame indexed by encoder, best first: mean_rank, rank, low, high (of the rank), mean_low, mean_high (of the
        mean rank), p_top (ties share).

    Raises:
        ScoresError: as :func:`friedman`, 2 encoders being enough.
    """
    table = score_table(scores, min_encoders=2, may_be_constant=True)
    ranks = task_ranks(table).to_numpy()
    n = ranks.shape[1]
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, n))
    labels = np.zeros(n, int) if groups is None else pd.factorize(groups.loc[table.columns])[0]
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        weights[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=resamples)
    means = (weights @ ranks.T / n).round(10)
    drawn = scipy_stats.rankdata(means, axis=1)
    mean = ranks.mean(axis=1)
    tail = 50 * (1 - confidence)
    out = pd.DataFrame(
        {
            "mean_rank": mean,
            "rank": scipy_stats.rankdata(mean.round(10)),
            "low": np.percentile(drawn, tail, axis=0, method="inverted_cdf"),
            "high": np.percentile(drawn, 100 - tail, axis=0, method="inverted_cdf"),
            "mean_low": np.percentile(means, tail, axis=0),
            "mean_high": np.percentile(means, 100 - tail, axis=0),
            "p_top": np.mean(drawn <= top, axis=0),
        },
        index=table.index,
    )
    return out.sort_values("mean_rank", kind="stable")


def rank_stability(scores: pd.DataFrame, groups: pd.Series | None = None) -> pd.DataFrame:
    """How the ranking changes when a task, or a category of tasks, is left out.

    Returns:
        DataFrame: left_out, n_tasks (left), kendall_tau (with the full ranking), best (encoder), and one column an
            encoder
        with its rank.

    Raises:
        ScoresError: as :func:`friedman`, 2 encoders being enough; or nothing is left.
    """
    table = score_table(scores, min_encoders=2, may_be_constant=True)
    parts: dict[str, list[object]] = {}
    if groups is None:
        parts = {str(task): [task] for task in table.columns}
    else:
        for task in table.columns:
            parts.setdefault(str(groups.loc[task]), []).append(task)
    full = task_ranks(table).mean(axis=1)
    rows = []
    for name, gone in [("(none)", []), *parts.items()]:
        left = table.drop(columns=gone)
        if left.shape[1] == 0:
            raise ScoresError(f"Leaving out {name} leaves no task; all tasks are of one category.")
        mean = task_ranks(left).mean(axis=1)
        tau = scipy_stats.kendalltau(full, mean).statistic
        rank = pd.Series(scipy_stats.rankdata(mean.round(10)), index=table.index)
        rows.append(
            {"left_out": name, "n_tasks": left.shape[1], "kendall_tau": tau, "best": mean.idxmin(), **rank.to_dict()}
        )
    return pd.DataFrame(rows)
