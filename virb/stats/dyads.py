"""Values that belong to a source and a target, both with effects of their own: score against distance.

Permuted within targets, distances of four sources with effects of their own look related to scores in .45 of studies at
p < .05: a source that is good everywhere brings its row of distances along. Centred over both, and with whole columns
permuted, it is .04 (Krackhardt 1988).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from virb.errors import ScoresError


@dataclass(frozen=True)
class Affinity:
    """``slope``: sd of a target's scores for a unit of distance, effects of source and target taken out; ``r`` likewise.

    ``least_p`` is the smallest that p can be with so many targets.
    """

    slope: float
    r: float
    pvalue: float
    least_p: float
    exact: bool
    n_sources: int
    n_targets: int


def affinity(score: pd.DataFrame, distance: pd.DataFrame, *, samples: int = 9_999, seed: int = 0) -> Affinity:
    """Does a source nearer to a target transfer better to it, once each has its own level?

    Scores are divided by their target's sd over sources, so that the target in percent does not decide; both are centred
    over sources and targets; whole columns of distances are permuted.

    Args:
        score, distance: sources x targets (S, T), complete, the same rows and columns.
        samples: permutations where there are more than so many.

    Raises:
        ScoresError: fewer than 2 sources or 3 targets, a value is missing, or the distances follow source and target alone.
    """
    distance = distance.reindex(index=score.index, columns=score.columns)
    y, d = score.to_numpy(float), distance.to_numpy(float)
    s, t = y.shape
    if s < 2 or t < 3:
        raise ScoresError(f"Distance against transfer needs 2 sources and 3 targets at least; found {s} and {t}.")
    if not (np.isfinite(y).all() and np.isfinite(d).all()):
        raise ScoresError("A score or distance is missing or not finite.")
    spread = y.std(axis=0)
    y = y / np.where(spread > 1e-12 * np.abs(y).max(axis=0), spread, 1.0)
    y, d = _doubly_centred(y), _doubly_centred(d)
    norm = math.sqrt(float((y * y).sum() * (d * d).sum()))
    if not np.abs(d).max() > 1e-9 * max(np.abs(distance.to_numpy(float)).max(), 1e-300):
        raise ScoresError("The distances are sums of a source's and a target's own, so that no slope exists.")
    cross = y.T @ d  # (T, T): what target i's scores gain with target j's distances
    columns = np.arange(t)
    total = float(np.trace(cross))
    is_exact = math.factorial(t) <= samples
    if is_exact:
        every = np.array(list(itertools.permutations(range(t))))
    else:
        every = np.random.default_rng(seed).permuted(np.tile(columns, (samples, 1)), axis=1)
    reached = int((np.abs(cross[columns, every].sum(axis=1)) >= abs(total) - 1e-12 * norm).sum())
    p = reached / len(every) if is_exact else (1 + reached) / (1 + samples)
    least = 1 / len(every) if is_exact else 1 / (1 + samples)
    return Affinity(total / float((d * d).sum()), total / norm if norm > 0 else 0.0, p, least, is_exact, s, t)


def _doubly_centred(x: np.ndarray) -> np.ndarray:
    return np.asarray(x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean())
