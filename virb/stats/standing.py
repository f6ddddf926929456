"""Who leads and how sure: mean ranks over redrawn tasks, Friedman's test where tasks go in blocks, and the leader by luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special as scipy_special
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.correlation import score_table
from virb.stats.ranking import Friedman, friedman, task_ranks
from virb.stats.row_ranks import row_ranks

_BLOCK = 4_000_000  # numbers of an array, which keeps memory near 100 MB
_COLUMNS = 256  # encoders whose resampled ranks are looked at together


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

    The interval of the mean rank is Student's over tasks (N - 1 degrees of freedom), for percentiles of few resampled
    tasks are too near; those of the rank and ``p_top`` are shares of resamples.

    Args:
        scores: encoders x tasks.
        top: size of the top group.
        groups: category of each task; tasks are then resampled within their category, so that each keeps its weight. A
            task alone in its category never varies, and shares of 0 and 1 follow from that alone.

    Returns:
        DataFrame indexed by encoder, best first: mean_rank, rank, low, high (of the rank), mean_low, mean_high (of the
        mean rank), p_top and p_first (ties share).

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
    # Few tasks are drawn in few ways (six in 462), each of which is ranked once.
    ways, which = np.unique(weights, axis=0, return_inverse=True)
    tail = 50 * (1 - confidence)
    # Half ranks of up to some millions are exact in 32 bits.
    step = max(1, _BLOCK // len(ranks))
    drawn = np.concatenate(
        [row_ranks((ways[k : k + step] @ ranks.T / n).round(10)).astype(np.float32) for k in range(0, len(ways), step)]
    )
    shares = [_shares(drawn[:, k : k + _COLUMNS][which.ravel()], top, tail) for k in range(0, len(ranks), _COLUMNS)]
    low, high, p_top, p_first = np.concatenate(shares, axis=1)
    mean = ranks.mean(axis=1)
    half = np.full(len(mean), float(len(mean)))
    if n > 1:
        half = scipy_stats.t.ppf(0.5 + confidence / 2, n - 1) * ranks.std(axis=1, ddof=1) / np.sqrt(n)
    out = pd.DataFrame(
        {
            "mean_rank": mean,
            "rank": scipy_stats.rankdata(mean.round(10)),
            "low": low,
            "high": high,
            "mean_low": np.maximum(mean - half, 1.0),
            "mean_high": np.minimum(mean + half, float(len(mean))),
            "p_top": p_top,
            "p_first": p_first,
        },
        index=table.index,
    )
    return out.sort_values("mean_rank", kind="stable")


def _shares(drawn: np.ndarray, top: int, tail: float) -> np.ndarray:
    """(4, E): both percentiles of drawn ranks (B, E), and the shares of those up to ``top`` and up to 1."""
    low, high = (np.percentile(drawn, q, axis=0, method="inverted_cdf") for q in (tail, 100 - tail))
    return np.stack([low, high, np.mean(drawn <= top, axis=0), np.mean(drawn <= 1, axis=0)])


def shuffled_friedman_p(
    scores: pd.DataFrame, groups: pd.Series | None = None, *, samples: int = 4_999, seed: int = 0
) -> tuple[float, float]:
    """p of Friedman's statistic when encoders are shuffled: on each task alone, or on all tasks of a category at once.

    Tasks of one category are not independent: at a correlation of .8 inside four categories Friedman's p at .05 rejects two
    true nulls in three. Shuffled whole, a category counts once, however alike its tasks are.

    Args:
        scores: encoders x tasks.
        groups: category of each task; without, every task is shuffled on its own.
        samples: shuffles B; p = (1 + count) / (1 + B).

    Returns:
        p, and the smallest p that so many encoders and blocks can give.

    Raises:
        ScoresError: fewer than 2 encoders or 2 tasks, or missing scores.
    """
    ranks = task_ranks(score_table(scores, min_encoders=2, may_be_constant=True))
    labels = np.arange(ranks.shape[1]) if groups is None else pd.factorize(groups.loc[ranks.columns])[0]
    k, n_blocks = len(ranks), int(labels.max()) + 1
    sums = np.stack([ranks.to_numpy()[:, labels == block].sum(axis=1) for block in range(n_blocks)], axis=1)
    observed = float((sums.sum(axis=1) ** 2).sum())
    rng = np.random.default_rng(seed)
    reached, step = 0, max(1, 2_000_000 // sums.size)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = rng.permuted(np.broadcast_to(sums.T, (size, n_blocks, k)).copy(), axis=2).sum(axis=1)
        reached += int(((drawn**2).sum(axis=1) >= observed * (1 - 1e-12)).sum())
    least = float(np.exp((1 - n_blocks) * scipy_special.gammaln(k + 1)))
    return (1 + reached) / (1 + samples), max(least, 1 / (1 + samples))


def leader_by_luck(n_encoders: int, n_tasks: int, *, top: int = 1, studies: int = 200, seed: int = 0) -> float:
    """The mean P(rank <= ``top``) that :func:`rank_bootstrap` gives to the leader of so many equal encoders.

    The leader is chosen from the scores that are then resampled, so that this is well above ``top / n_encoders``.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(max(20, min(studies, 4_000_000 // (100 * n_encoders * n_tasks)))):
        ranks = rng.permuted(np.tile(np.arange(1.0, n_encoders + 1), (n_tasks, 1)), axis=1)
        leader = int(ranks.sum(axis=0).argmin())
        means = rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=100) @ ranks
        place = 1 + (means < means[:, [leader]] - 1e-9).sum(axis=1)
        place = place + ((np.abs(means - means[:, [leader]]) < 1e-9).sum(axis=1) - 1) / 2  # ties share, as there
        found.append(float(np.mean(place <= top)))
    return float(np.mean(found))


@dataclass(frozen=True)
class Standing:
    """Who is ahead and how sure that is, the same for every page that says it.

    ``p`` is Friedman's from shuffled categories where tasks are in at least two categories and not each in its own, else
    from shuffled tasks; ``p_tasks`` always from tasks one by one. ``least_p`` is the smallest that p can be. ``table`` is
    :func:`rank_bootstrap`'s with p_first beside p_top; ``luck_first`` what the leader of equal encoders gets of it.
    """

    friedman: Friedman
    p: float
    least_p: float
    p_tasks: float
    blocks: str
    table: pd.DataFrame
    luck_first: float
    resampled: str


def standing(
    scores: pd.DataFrame,
    categories: pd.Series,
    *,
    top: int = 3,
    within_categories: bool = False,
    resamples: int = 10_000,
) -> Standing:
    """Rank encoders over tasks, test that they differ, and resample tasks.

    Args:
        scores: encoders x tasks.
        categories: category of each task.
        top: size of the top group.
        within_categories: resample tasks inside their category, which holds a task that is alone in one fixed.

    Raises:
        ScoresError: as :func:`friedman`.
    """
    test = friedman(scores)
    of = categories.loc[scores.columns]
    p_tasks, least = shuffled_friedman_p(scores)
    p, blocks = p_tasks, "tasks, counted as independent"
    if 1 < of.nunique() < len(of):
        p, least = shuffled_friedman_p(scores, of)
        blocks = f"the {of.nunique()} categories whole, whose tasks need not be independent"
    groups = of if within_categories else None
    table = rank_bootstrap(scores, top=top, groups=groups, resamples=resamples)
    return Standing(
        test,
        p,
        least,
        p_tasks,
        blocks,
        table,
        leader_by_luck(len(scores), scores.shape[1]),
        "tasks resampled inside their categories" if within_categories else "tasks resampled freely, as if independent",
    )


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
