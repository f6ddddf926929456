"""Wilcoxon's signed-rank test over few tasks: exact with ties and zeros, and what a correction leaves possible."""

from __future__ import annotations

import functools

import numpy as np
from scipy import stats as scipy_stats

from virb.stats.exact import settled
from virb.stats.row_ranks import row_ranks

#: Beyond so many tasks the normal approximation is as good as the sums of all signs.
_EXACT_UP_TO = 50


def signed_rank_p(gap: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, from all signs of the ranks of |gap| that are not 0.

    Tied differences share their mean rank, zeros are dropped; differences that tie in print tie here
    (:func:`virb.stats.exact.settled`). Beyond 50 differences it is SciPy's.

    Args:
        gap: (N,) paired differences.
    """
    gap = settled(gap)
    gap = gap[gap != 0]
    if len(gap) == 0:
        return 1.0
    if len(gap) > _EXACT_UP_TO:
        return float(scipy_stats.wilcoxon(gap).pvalue)
    doubled = np.rint(2 * scipy_stats.rankdata(np.abs(gap))).astype(int)  # whole numbers where ties share ranks
    up = int(doubled[gap > 0].sum())
    low = min(up, int(doubled.sum()) - up)
    below = _cumulated(tuple(sorted(doubled.tolist())))
    return float(min(1.0, 2 * below[low]))


def signed_rank_ps(gaps: np.ndarray) -> np.ndarray:
    """(M,) p of each row of ``gaps`` (M, N), equal to :func:`signed_rank_p`; rows of one pattern of ties share the sums."""
    gaps = settled(gaps.T).T  # each row by its own largest
    n = gaps.shape[1]
    if not gaps.size:
        return np.ones(len(gaps))
    found = np.empty(len(gaps))
    order = np.argsort(np.abs(gaps), axis=1)
    ordered = np.take_along_axis(gaps, order, axis=1)
    sizes = np.abs(ordered)
    is_plain = (sizes[:, 0] > 0) & (sizes[:, 1:] > sizes[:, :-1]).all(axis=1) & (n <= _EXACT_UP_TO)
    if is_plain.any():  # without zeros and ties the ranks are 1 to N
        doubled = 2 * np.arange(1, n + 1)
        up = (ordered[is_plain] > 0) @ doubled
        below = _cumulated(tuple(doubled.tolist()))
        found[is_plain] = np.minimum(1.0, 2 * below[np.minimum(up, doubled.sum() - up)])
    found[~is_plain] = _tied_ps(gaps[~is_plain])
    return found


def _tied_ps(gaps: np.ndarray) -> np.ndarray:
    """:func:`signed_rank_ps` of settled rows, some of whose values are 0 or tie."""
    found = np.ones(len(gaps))
    n_zeros = (gaps == 0).sum(axis=1)
    is_long = gaps.shape[1] - n_zeros > _EXACT_UP_TO
    found[is_long] = [signed_rank_p(gap) for gap in gaps[is_long]]
    rows = np.flatnonzero(~is_long & (n_zeros < gaps.shape[1]))
    if not len(rows):
        return found
    gaps, n_zeros = gaps[rows], n_zeros[rows]
    # Zeros have the lowest ranks: without them, the others' are as much lower.
    ranks = row_ranks(np.abs(gaps)) - n_zeros[:, None]
    doubled = np.where(gaps != 0, np.rint(2 * ranks), 0).astype(int)
    up = np.where(gaps > 0, doubled, 0).sum(axis=1)
    low = np.minimum(up, doubled.sum(axis=1) - up)
    patterns, of_row = np.unique(np.sort(doubled, axis=1), axis=0, return_inverse=True)
    order = np.argsort(of_row.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(of_row.ravel()))
    for pattern, members in zip(patterns, np.split(order, ends[:-1]), strict=True):
        below = _cumulated(tuple(pattern[pattern > 0].tolist()))
        found[rows[members]] = np.minimum(1.0, 2 * below[low[members]])
    return found


@functools.lru_cache(maxsize=512)
def _cumulated(doubled: tuple[int, ...]) -> np.ndarray:
    """P(sum <= s) of the ranks that get a plus, each sign being as likely."""
    share = np.zeros(sum(doubled) + 1)
    share[0] = 1.0
    for rank in doubled:
        share = 0.5 * (share + np.concatenate([np.zeros(rank), share[: len(share) - rank]]))
    return np.cumsum(share)


def smallest_holm_p(n_tasks: int, n_pairs: int) -> float:
    """The smallest p that Holm's correction over ``n_pairs`` signed-rank tests over ``n_tasks`` can give: m 2 / 2^N."""
    return float(min(1.0, n_pairs * 2.0 ** (1 - n_tasks)))
