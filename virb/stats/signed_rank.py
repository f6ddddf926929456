"""Wilcoxon's signed-rank test over few tasks: exact with ties and zeros, and what a correction leaves possible."""

from __future__ import annotations

import functools

import numpy as np
from scipy import stats as scipy_stats

from virb.stats.exact import settled

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
