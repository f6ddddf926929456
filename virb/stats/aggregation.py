"""Many tasks as one number with an interval: interquartile mean, performance profiles, probability of improvement.

Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep reinforcement learning at the edge of the statistical precipice",
NeurIPS 2021 (rliable). Scores are on one scale (chance to ceiling); every task weighs the same however many runs it has. Runs
left out within their tasks answer "other runs, these tasks", tasks left out "other tasks of this kind". Both are jackknives
with Student's t: runs resampled three at a time give intervals that hold three times in four.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from virb.errors import ScoresError


@dataclass(frozen=True)
class Runs:
    """Scores of k encoders on T tasks: ``values`` (k, N), all tasks' runs side by side, NaN where a run is missing;
    ``task`` (N,) 0, 1, ... whose run a column is. ``are_paired``: runs of one number share their draw across encoders."""

    values: np.ndarray
    task: np.ndarray
    are_paired: bool = True

    @classmethod
    def of(cls, tasks: Sequence[np.ndarray], *, are_paired: bool = True) -> Runs:
        """From a (k, n) array for each task.

        Raises:
            ScoresError: an encoder has no run on a task.
        """
        for k, x in enumerate(tasks):
            if np.isnan(x).all(axis=1).any():
                raise ScoresError(f"An encoder has no run on task {k}; aggregates need every encoder on every task.")
        number = np.repeat(np.arange(len(tasks)), [x.shape[1] for x in tasks])
        return cls(np.concatenate(tasks, axis=1).astype(float), number, are_paired)

    @property
    def n_tasks(self) -> int:
        return int(self.task.max()) + 1

    @property
    def n_runs(self) -> np.ndarray:
        """(T,) runs of each task, of the encoder that has fewest."""
        known = np.isfinite(self.values)
        return np.array([known[:, self.task == t].sum(axis=1).min() for t in range(self.n_tasks)])

    def weights(self) -> np.ndarray:
        """(k, N) weights of runs that sum to 1: every task 1 / T, shared by its runs that are there."""
        known = np.isfinite(self.values)
        counts = known.astype(float) @ (self.task[:, None] == np.arange(self.n_tasks))
        return np.asarray(known / counts[:, self.task] / self.n_tasks)

    def without(self, tasks: np.ndarray) -> Runs:
        """The same without some tasks."""
        kept = ~np.isin(self.task, tasks)
        return Runs(self.values[:, kept], np.unique(self.task[kept], return_inverse=True)[1], self.are_paired)


def interquartile_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of the middle half of runs by weight, along the last axis (NaN has no weight).

    With equal weights as many whole runs are cut from either end as fit in a quarter, which is
    ``scipy.stats.trim_mean(x, .25)`` and rliable's; with unequal weights exactly a quarter of the weight is.
    """
    order = np.argsort(values, axis=-1)
    x = np.nan_to_num(np.take_along_axis(values, order, axis=-1))
    w = np.take_along_axis(weights, order, axis=-1)
    n = (w > 0).sum(axis=-1, keepdims=True)
    is_equal = np.ptp(np.where(w > 0, w, w.max(axis=-1, keepdims=True)), axis=-1, keepdims=True) < 1e-12
    cut = np.where(is_equal, np.floor(0.25 * n + 1e-9) / np.maximum(n, 1), 0.25)
    end = np.cumsum(w, axis=-1)
    inside = np.clip(np.minimum(end, 1 - cut) - np.maximum(end - w, cut), 0, None)
    return np.asarray((inside * x).sum(axis=-1) / inside.sum(axis=-1))


def profile(runs: Runs, levels: np.ndarray) -> np.ndarray:
    """(k, L) share of runs x tasks whose score is above each level, tasks weighing the same."""
    w = runs.weights()
    x = np.where(np.isfinite(runs.values), runs.values, -np.inf)
    return np.stack([((x > level) * w).sum(axis=1) for level in levels], axis=1)


def optimality_gap(runs: Runs, *, ceiling: float = 1.0) -> np.ndarray:
    """(k,) mean of what is missing to ``ceiling``; scores above it count as there."""
    missing = np.nan_to_num(np.maximum(ceiling - runs.values, 0.0))
    return np.asarray((missing * runs.weights()).sum(axis=1))


def improvement(x: np.ndarray, y: np.ndarray, task: np.ndarray) -> np.ndarray:
    """P(X > Y) + P(X = Y) / 2 over pairs of runs of each task (Mann-Whitney's U / (n m)); (..., T).

    Args:
        x, y: (..., N) runs of two encoders; NaN is no run.
        task: (N,) task of each column.
    """
    out = []
    for t in range(int(task.max()) + 1):
        a, b = x[..., task == t, None], y[..., None, task == t]
        pairs = np.isfinite(a) & np.isfinite(b)
        won = np.where(pairs, (a > b) + 0.5 * (a == b), 0.0)
        out.append(won.sum(axis=(-1, -2)) / pairs.sum(axis=(-1, -2)))
    return np.stack(out, axis=-1)


@functools.lru_cache(maxsize=256)
def _range(confidence: float, families: int, df: int) -> float:
    return float(scipy_stats.studentized_range.ppf(confidence, families, df) / np.sqrt(2))


@dataclass(frozen=True)
class Spread:
    """Standard errors of statistics and their degrees of freedom; NaN where nothing is known."""

    se: np.ndarray
    df: np.ndarray

    def quantile(self, *, confidence: float = 0.95, families: int = 2) -> np.ndarray:
        """By how many standard errors an interval reaches out: Student's, or that of all pairs of ``families`` things at once
        (the studentised range)."""
        known = self.df[np.isfinite(self.df)]
        if not known.size:
            return np.full(np.shape(self.df), np.nan)
        df = np.where(np.isfinite(self.df), self.df, known.min())
        q: np.ndarray | float
        if families > 60:  # Bonferroni over all pairs: the range of so many is hardly smaller, and takes long
            q = scipy_stats.t.ppf(1 - (1 - confidence) / (families * (families - 1)), df)
        elif families > 2:
            q = _range(confidence, families, max(1, int(df.min())))
        else:
            q = scipy_stats.t.ppf(0.5 + confidence / 2, df)
        return np.asarray(np.where(np.isfinite(self.df), q, np.nan))

    def half(self) -> np.ndarray:
        """Half of the 95 % interval."""
        return np.asarray(self.quantile() * self.se)


def over_runs(runs: Runs, statistic: Callable[[Runs], np.ndarray], *, alone: np.ndarray | None = None) -> Spread:
    """How a statistic moves with other runs of these tasks: each run left out in turn, the tasks' variances added.

    Paired runs are left out for all encoders at once. The degrees of freedom are Satterthwaite's of the tasks' n - 1. What rests
    on an encoder's only run of a task is NaN.

    Args:
        statistic: Runs of k encoders -> (m,).
        alone: (k,) encoders whose runs are left out apart from the others' where runs are not paired, because the
            statistic compares them with others.
    """
    shape = np.shape(statistic(runs))
    rows = [np.ones(len(runs.values), bool)]
    if alone is not None and not runs.are_paired:
        rows = [alone, ~alone]
    total, below, most = np.zeros(shape), np.zeros(shape), 0.0
    for t in range(runs.n_tasks):
        columns = np.flatnonzero(runs.task == t)
        n = len(columns)
        most += n - 1
        for side in rows:
            left = []
            for column in columns:
                values = runs.values.copy()
                values[side, column] = np.nan
                with np.errstate(invalid="ignore", divide="ignore"):  # the only run of a task leaves nothing: NaN
                    left.append(statistic(Runs(values, runs.task, runs.are_paired)))
            variance = (n - 1) * np.var(left, axis=0)
            total, below = total + variance, below + variance**2 / max(n - 1, 1)
    df = np.where(below > 0, total**2 / np.where(below > 0, below, 1.0), max(most, 1.0))
    return Spread(np.sqrt(total), np.where(np.isfinite(total), df, np.nan))


def over_tasks(runs: Runs, statistic: Callable[[Runs], np.ndarray], blocks: np.ndarray) -> Spread:
    """How a statistic moves with other tasks of this kind: each task, or whole category, left out in turn.

    Args:
        blocks: (T,) 0, 1, ... category of each task, or each task its own.
    """
    g = int(blocks.max()) + 1
    if g < 2:
        nothing = np.full(np.shape(statistic(runs)), np.nan)
        return Spread(nothing, nothing)
    left = np.stack([statistic(runs.without(np.flatnonzero(blocks == b))) for b in range(g)])
    se = np.sqrt((g - 1) * left.var(axis=0))
    return Spread(se, np.full(np.shape(se), float(g - 1)))


def share_interval(p: np.ndarray, n: np.ndarray | float, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of shares that ``n`` independent values are behind, ``q`` standard errors to either side.

    It has a width at 0 and 1 too: an encoder that is better on six tasks of six may still be no better.
    """
    middle = (p + q**2 / (2 * n)) / (1 + q**2 / n)
    half = q / (1 + q**2 / n) * np.sqrt(p * (1 - p) / n + q**2 / (4 * n**2))
    return middle - half, middle + half


def improvement_interval(p: np.ndarray, spread: Spread, most: float, *, families: int) -> tuple[np.ndarray, np.ndarray]:
    """Interval of probabilities of improvement, of all pairs of ``families`` encoders at once.

    Args:
        p: (m,) probabilities.
        spread: their standard errors.
        most: independent values that are behind a probability at most: runs, or tasks.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.where(spread.se > 0, np.minimum(p * (1 - p) / spread.se**2, most), most)
    return share_interval(p, np.maximum(n, 1e-9), spread.quantile(families=families))
