"""Bootstrap of correlations over encoders, or over families of them: weights, correlations under them, and their p."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats

from virb.errors import ScoresError

_IN_CACHE = 100_000  # numbers of an array that several passes go over


def bootstrap_p(r: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided p of correlations from their resamples, each alone and for the largest of all (family-wise).

    Resamples scatter about r as r would about 0: p is how often ``|z* - z|`` reaches ``|z|``, z being Fisher's transform;
    for the second, both are in units of the pair's sd and the largest over pairs is compared (Westfall and Young 1993,
    single step). With few families (under ten, say) both are too small.

    Args:
        r: (P,) correlations.
        draws: (B, P) the same in B resamples; NaN where a resample has none.

    Returns:
        Two arrays (P,), each (1 + count) / (1 + resamples that have a value).

    Raises:
        ScoresError: a pair has no correlation in any resample.
    """
    edge = 1 - 1e-12
    z = np.arctanh(np.clip(np.asarray(r, float), -edge, edge))
    moved = np.abs(np.arctanh(np.clip(np.asarray(draws, float), -edge, edge)) - z)
    has = np.isfinite(moved)
    if not has.any(axis=0).all():
        raise ScoresError("A task is constant in every resample, so its correlations have no p. Use more families.")
    alone = (1 + np.sum(moved >= np.abs(z) - 1e-12, axis=0)) / (1 + has.sum(axis=0))
    sd = np.sqrt(np.nanmean(moved**2, axis=0))
    sd = np.where(sd > 0, sd, 1.0)
    largest = np.sort(np.nanmax(np.where(has, moved, 0.0) / sd, axis=1))
    reached = len(largest) - np.searchsorted(largest, np.abs(z) / sd - 1e-12, side="left")
    return alone, np.maximum(alone, (1 + reached) / (1 + len(largest)))


def bootstrap_weights(
    n: int, resamples: int, rng: np.random.Generator, clusters: Sequence[object] | None = None
) -> np.ndarray:
    """How often each of ``n`` encoders occurs in each resample: (resamples, n) counts.

    With ``clusters`` (a label an encoder) whole clusters are drawn, as many as there are.

    Raises:
        ScoresError: ``clusters`` has another length than n, or one value only.
    """
    if clusters is None:
        return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    labels = np.asarray([str(label) for label in clusters])
    if len(labels) != n:
        raise ScoresError(f"clusters names {len(labels)} encoders, the scores have {n}.")
    names, member = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ScoresError(
            f"All encoders are of one family ({names[0]}), so there is nothing to resample families from."
        )
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return drawn[:, member].astype(float)


def weighted_correlations(x: np.ndarray, weights: np.ndarray, method: str = "pearson") -> np.ndarray:
    """Correlations of every pair of tasks under every row of weights, without building the resamples.

    Args:
        x: (E, T) scores.
        weights: (B, E) non-negative counts: encoder e occurs ``weights[b, e]`` times in resample b.
        method: for "spearman" the ranks are those within the resample, ties at their mean.

    Returns:
        (B, T(T-1)/2) in the order of ``np.triu_indices(T, 1)``; NaN where a task is constant in a resample.
    """
    x = np.asarray(x, float)
    n, t = x.shape
    rows, columns = np.triu_indices(t, 1)
    out = np.empty((len(weights), len(rows)))
    if method == "pearson":
        # Centring and scaling change no correlation; they keep the difference of moments below exact to rounding.
        x = x - x.mean(axis=0)
        x = x / np.where(np.abs(x).max(axis=0) > 0, np.abs(x).max(axis=0), 1.0)
        moments_of = np.concatenate([x[:, rows] * x[:, columns], x * x, x], axis=1)
        step = max(1, _IN_CACHE // moments_of.shape[1])
        for start in range(0, len(weights), step):
            w = weights[start : start + step]
            moments = (w / w.sum(axis=1, keepdims=True)) @ moments_of
            covariance, squares, mean = np.split(moments, [len(rows), len(rows) + t], axis=1)
            covariance -= np.take(mean, rows, axis=1) * np.take(mean, columns, axis=1)
            out[start : start + step] = _ratio(covariance, squares - mean**2, rows, columns)
        return out
    order = np.argsort(x, axis=0, kind="stable")
    n_below = scipy_stats.rankdata(x, method="min", axis=0).astype(int) - 1
    n_up_to = scipy_stats.rankdata(x, method="max", axis=0).astype(int)
    step = max(1, _IN_CACHE // (n * t))
    for start in range(0, len(weights), step):
        w = weights[start : start + step]
        total = w.sum(axis=1)[:, None, None]
        drawn = np.empty((t, len(w), n))
        sums = np.zeros((len(w), n + 1))  # of the weights of the k lowest scores
        for k in range(t):
            # An encoder's rank is the weight below it, and half of that of those that tie with it.
            np.cumsum(np.take(w, order[:, k], axis=1), axis=1, out=sums[:, 1:])
            np.add(np.take(sums, n_below[:, k], axis=1), np.take(sums, n_up_to[:, k], axis=1), out=drawn[k])
        drawn *= 0.5
        ranks = drawn.transpose(1, 0, 2) / total  # (B, T, E), in units of the sample size
        ranks -= 0.5  # the weighted mean of mid-ranks is exactly half
        moments = np.matmul(ranks * (w[:, None, :] / total), ranks.transpose(0, 2, 1))
        variance = np.diagonal(moments, axis1=1, axis2=2)
        out[start : start + step] = _ratio(moments[:, rows, columns], variance, rows, columns)
    return out


def _ratio(covariance: np.ndarray, variance: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    scale = 1.0 / np.sqrt(np.where(variance > 1e-14, variance, np.nan))
    r: np.ndarray = covariance * np.take(scale, rows, axis=1)
    r *= np.take(scale, columns, axis=1)
    return np.clip(r, -1.0, 1.0, out=r)


def bootstrap_correlations(
    x: np.ndarray,
    method: str = "pearson",
    *,
    resamples: int = 10_000,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Correlations of ``resamples`` bootstrap samples of encoders: (resamples, T(T-1)/2), upper triangle row by row."""
    weights = bootstrap_weights(len(x), resamples, np.random.default_rng(seed), clusters)
    return weighted_correlations(x, weights, method)
