"""Do two batteries of tasks order encoders alike, and more or less than any two halves of their tasks would?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from virb.stats.exact import settled


@dataclass(frozen=True)
class Agreement:
    """``rho`` and ``tau`` of the two batteries' standings; ``random`` rho of as many tasks drawn at random into two batteries;
    ``p_less`` how often those agree no better than the two, counting them (alike tasks are exchangeable: it holds exactly)."""

    rho: float
    tau: float
    random: np.ndarray
    p_less: float


def standings(x: np.ndarray) -> np.ndarray:
    """(E,) mean over tasks of scores in sds of each task; a task on which all score the same says nothing."""
    sd = x.std(axis=0, ddof=1)
    is_flat = ~(sd > 1e-12 * np.abs(x).max(axis=0, initial=0.0))
    return np.asarray(np.where(is_flat, 0.0, (x - x.mean(axis=0)) / np.where(is_flat, 1.0, sd)).mean(axis=1))


def agreement(first: np.ndarray, second: np.ndarray, *, samples: int = 999, seed: int = 0) -> Agreement:
    """Spearman's rho and Kendall's tau between two batteries, beside every split of all their tasks, or ``samples`` random ones.

    Args:
        first, second: (E, T1), (E, T2) scores of the same encoders.
    """
    both = np.concatenate([first, second], axis=1)
    z = np.stack([standings(both[:, [t]]) for t in range(both.shape[1])], axis=1)
    n = first.shape[1]

    def rhos(is_first: np.ndarray) -> np.ndarray:
        """(B,) rho of each split (B, T); 0 where a battery's encoders all stand alike."""
        sides = [settled(part @ z.T / part.sum(axis=1, keepdims=True)) for part in (is_first, 1.0 - is_first)]
        a, b = (scipy_stats.rankdata(side, axis=1) for side in sides)
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        below = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        return np.where(below > 0, (a * b).sum(axis=1) / np.where(below > 0, below, 1.0), 0.0)

    own = (np.arange(both.shape[1]) < n).astype(float)
    found = float(rhos(own[None])[0])
    t = both.shape[1]
    is_every = math.comb(t, n) <= samples
    if is_every:
        splits = np.zeros((math.comb(t, n), t))
        for row, members in enumerate(itertools.combinations(range(t), n)):
            splits[row, list(members)] = 1.0
    else:
        splits = np.random.default_rng(seed).permuted(np.tile(own, (samples, 1)), axis=1)
    drawn = rhos(splits)
    reached = int((drawn <= found + 1e-12).sum())
    tau = scipy_stats.kendalltau(settled(z[:, :n].mean(axis=1)), settled(z[:, n:].mean(axis=1))).statistic
    return Agreement(found, float(tau), drawn, reached / len(drawn) if is_every else (1 + reached) / (1 + samples))
