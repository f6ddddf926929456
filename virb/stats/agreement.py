"""Do two batteries of tasks order encoders alike, and more or less than any two halves of their tasks would?"""

from __future__ import annotations

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
    """Spearman's rho and Kendall's tau between two batteries, beside random splits of all their tasks.

    Args:
        first, second: (E, T1), (E, T2) scores of the same encoders.
    """
    rng = np.random.default_rng(seed)
    both = np.concatenate([first, second], axis=1)
    z = np.stack([standings(both[:, [t]]) for t in range(both.shape[1])], axis=1)
    n = first.shape[1]

    def rho(order: np.ndarray) -> float:
        a, b = settled(z[:, order[:n]].mean(axis=1)), settled(z[:, order[n:]].mean(axis=1))
        return float(scipy_stats.spearmanr(a, b).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0

    own = np.arange(both.shape[1])
    found = rho(own)
    drawn = np.array([rho(rng.permutation(own)) for _ in range(samples)])
    tau = scipy_stats.kendalltau(settled(z[:, :n].mean(axis=1)), settled(z[:, n:].mean(axis=1))).statistic
    return Agreement(found, float(tau), drawn, (1 + int((drawn <= found + 1e-12).sum())) / (1 + samples))
