"""Small samples: p of a correlation from every order of one variable, and scores that tie although their last bit differs.

With few encoders Student's p of a correlation is wrong: at n = 3 a monotone pair is always "significant", at n = 4 its
true level is .083, and one skewed task makes Pearson's reject twice too often. All n! orders are few enough up to n = 9.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

#: Largest n whose n! orders are gone through (362,880 at 9).
EXACT_UP_TO = 9
_SIGNIFICANT_DIGITS = 12
_ROWS = 60_000


def settled(x: np.ndarray) -> np.ndarray:
    """Scores rounded to twelve significant digits of the column's largest.

    Means that tie exactly differ in their last bit when they were summed in another order; so do differences of printed
    scores (.80 - .78 and .82 - .80). Rounded, they tie. NaN stays.

    Args:
        x: (E,) or (E, T); columns are rounded each to its own largest absolute value.
    """
    x = np.asarray(x, float)
    with np.errstate(all="ignore"):
        largest = np.nanmax(np.abs(np.where(np.isfinite(x), x, np.nan)), axis=0, initial=0.0)
        power = np.ceil(np.log10(np.where(largest > 0, largest, 1.0)))
    # Numbers beyond the range of a power of ten are left alone: they come from no table of scores.
    usable = np.abs(power) < 250
    scale = 10.0 ** np.where(usable, _SIGNIFICANT_DIGITS - power, 0.0)
    return np.where(usable, np.round(x * scale) / scale, x)


@functools.lru_cache(maxsize=2)
def orders(n: int) -> np.ndarray:
    """Every order of ``n`` things: (n!, n) int8."""
    return np.array(list(itertools.permutations(range(n))), dtype=np.int8)


def permutation_p(x: np.ndarray) -> np.ndarray:
    """Exact two-sided p of every correlation: the share of all n! orders of one task with |r*| >= |r|.

    Args:
        x: (n, T), n up to ``EXACT_UP_TO``, no column constant: scores, or their ranks for Spearman.

    Returns:
        (T, T), symmetric, 0 on the diagonal. The smallest possible p is 2/n! (both extremes count).
    """
    x = np.asarray(x, float)
    n, size = x.shape
    if n > EXACT_UP_TO:
        raise ValueError(f"{math.factorial(n)} orders of {n} are too many to go through.")
    centred = x - x.mean(axis=0)
    centred = centred / np.abs(centred).max(axis=0)
    unit = centred / np.sqrt((centred**2).sum(axis=0))
    observed = np.abs(unit.T @ unit) - 1e-12
    counts = np.zeros((size, size))
    every = orders(n)
    increasing = np.sort(unit, axis=0)
    if np.allclose(increasing, increasing[:, :1], rtol=0, atol=1e-14):
        # Ranks without ties: every pair of tasks has one and the same distribution.
        drawn = np.sort(np.abs(increasing[:, 0][every] @ increasing[:, 0]))
        counts = len(drawn) - np.searchsorted(drawn, observed, side="left").astype(float)
    else:
        for a in range(size - 1):
            for start in range(0, len(every), _ROWS):
                drawn = np.abs(unit[:, a][every[start : start + _ROWS]] @ unit[:, a + 1 :])
                counts[a, a + 1 :] += (drawn >= observed[a, a + 1 :]).sum(axis=0)
        counts = counts + counts.T
    p = counts / len(every)
    np.fill_diagonal(p, 0.0)
    return p
