"""How few tasks tell the rest: sets of tasks chosen, fitted and judged on different encoders.

A set is judged by the tasks that are not in it. Judged by the mean of all tasks it predicts itself: of unrelated tasks five in
fifteen "predict" a third of it. The choice is repeated inside every fold, and random sets of the same size stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.stats.correlation import score_table
from virb.stats.exact import settled

MIN_ENCODERS = 15


@dataclass(frozen=True)
class PredictiveSubset:
    """``table``, a row for each size: the tasks chosen on all encoders, and how well sets chosen so tell the others.

    ``spearman`` and ``r2`` compare, for encoders that neither chose the tasks nor fitted the weights, the predicted with
    the true mean of the tasks not chosen (standardised); ``random_low``, ``random_median``, ``random_high`` are the 5, 50
    and 95 % points of Spearman's rho of random sets of that size, ``random_as_good`` the share of them that do as well,
    ``random_r2`` the median of their R^2; ``r2_in_sample``
    is what a study without the split would report. ``n_folds``: how often encoders were left out.
    """

    table: pd.DataFrame
    n: int
    n_folds: int


def predictive_subset(
    scores: pd.DataFrame,
    *,
    max_size: int = 6,
    ridge: float = 1.0,
    clusters: Sequence[object] | None = None,
    random_sets: int = 40,
    seed: int = 0,
) -> PredictiveSubset:
    """The smallest set of end tasks that predicts the other tasks, scored on encoders that were left out.

    The target is the mean over the tasks outside the set of standardised scores. Tasks are added one by one (forward
    selection), each fit is a ridge regression on standardised scores; selection and fit are repeated without each encoder,
    or each family of encoders, in turn.

    Args:
        scores: encoders x tasks (E, T).
        max_size: largest set tried.
        ridge: penalty, in units of one encoder's weight.
        clusters: family of each encoder; families are left out whole, for a sister of an encoder tells what it scores.
        random_sets: random sets of each size.
        seed: of the random sets.

    Raises:
        ScoresError: as :func:`virb.stats.correlation.correlation_matrix`; at least 15 encoders and 3 tasks.
    """
    table = score_table(scores, min_encoders=MIN_ENCODERS, min_tasks=3)
    x = settled(table.to_numpy(float))
    e, t = x.shape
    size = max(1, min(max_size, t - 2))
    labels = range(e) if clusters is None else [str(label) for label in clusters]
    fold = np.unique(list(labels), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    drawn = [[list(rng.choice(t, size=k + 1, replace=False)) for _ in range(random_sets)] for k in range(size)]
    shape = (size, 1 + random_sets, e)
    truth, predicted = np.full(shape, np.nan), np.full(shape, np.nan)
    for left in range(fold.max() + 1):
        out = fold == left
        train = x[~out]
        mean, sd = train.mean(axis=0), train.std(axis=0)
        sd = np.where(sd > 1e-12 * np.abs(train).max(axis=0), sd, 1.0)  # constant without these: no information
        z, z_left = (train - mean) / sd, (x[out] - mean) / sd
        for k, chosen in enumerate(_forward(z, size, ridge)):
            for which, members in enumerate([chosen, *drawn[k]]):
                rest = np.setdiff1d(np.arange(t), members)
                weights = _ridge(z[:, members], z[:, rest].mean(axis=1), ridge)
                truth[k, which, out] = z_left[:, rest].mean(axis=1)
                predicted[k, which, out] = z_left[:, members] @ weights
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    rows = []
    for k, chosen in enumerate(_forward(z, size, ridge)):
        # In every fold the training mean predicts 0, what R^2 measures from.
        r2 = 1 - ((truth[k] - predicted[k]) ** 2).sum(axis=1) / (truth[k] ** 2).sum(axis=1)
        rho = np.array([_rho(a, b) for a, b in zip(truth[k], predicted[k], strict=True)])
        rest = z[:, np.setdiff1d(np.arange(t), chosen)].mean(axis=1)
        fitted = z[:, chosen] @ _ridge(z[:, chosen], rest, ridge)
        low, median, high = np.percentile(rho[1:], (5, 50, 95))
        rows.append(
            {
                "size": k + 1,
                "added": str(table.columns[chosen[-1]]),
                "tasks": " + ".join(str(table.columns[c]) for c in chosen),
                "spearman": rho[0],
                "random_low": low,
                "random_median": median,
                "random_high": high,
                "random_as_good": float(np.mean(rho[1:] >= rho[0] - 1e-12)),
                "r2": r2[0],
                "random_r2": float(np.median(r2[1:])),
                "r2_in_sample": 1 - float(np.sum((rest - fitted) ** 2) / np.sum(rest**2)),
            }
        )
    return PredictiveSubset(pd.DataFrame(rows), e, int(fold.max()) + 1)


def _rho(truth: np.ndarray, predicted: np.ndarray) -> float:
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return 0.0
    return float(scipy_stats.spearmanr(truth, predicted).statistic)


def _ridge(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    return np.asarray(np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y))


def _forward(z: np.ndarray, size: int, ridge: float) -> list[list[int]]:
    """Sets of growing size, each the former with the task that explains most of the rest's mean (first of equals)."""
    chosen: list[int] = []
    out = []
    everything = z.sum(axis=1)
    gram = z.T @ z
    for _ in range(size):
        best = (np.inf, -1)
        for c in range(z.shape[1]):
            if c in chosen:
                continue
            members = [*chosen, c]
            rest = everything - z[:, members].sum(axis=1)
            weights = np.linalg.solve(
                gram[np.ix_(members, members)] + ridge * np.eye(len(members)), z[:, members].T @ rest
            )
            total = float(rest @ rest)
            error = float(np.sum((rest - z[:, members] @ weights) ** 2)) / total if total > 0 else 0.0
            best = min(best, (error, c))
        chosen = [*chosen, best[1]]
        out.append(chosen)
    return out
