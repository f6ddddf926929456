"""Correlations between end tasks over encoders, with the uncertainty that a table of r leaves out.

Kotar et al. 2021, Figures 13 and 14, show r alone. With n encoders and T tasks there are T(T-1)/2 tests: at n = 30 and
T = 20 the largest ``|r|`` of unrelated tasks is expected near .52, so every value comes with an interval and a corrected p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.errors import ScoresError
from virb.stats.bootstrap import bootstrap_correlations, bootstrap_p, weighted_correlations
from virb.stats.exact import EXACT_UP_TO, permutation_p, settled
from virb.stats.families import family_jackknife, largest_below_one

METHODS = ("pearson", "spearman")
INTERVALS = ("fisher", "bootstrap", "jackknife")
ADJUSTMENTS = ("bh", "holm", "max")
# Shuffles are made in blocks of this many numbers, which keeps memory near 100 MB whatever is asked for.
_BLOCK = 4_000_000
_LEFT_OUT = 1_000  # encoders, each of which is left out of all in a row of weights


@dataclass(frozen=True)
class CorrelationMatrix:
    """Correlations of T tasks over ``n`` encoders; every frame is T x T, labelled by task.

    ``p`` is two-sided and 0 on the diagonal; ``p_adjusted`` corrects it over the T(T-1)/2 pairs (``adjustment``);
    ``low`` and ``high`` bound r at the level ``confidence`` (``interval``). ``n_families`` and ``effective_families``
    (:class:`virb.stats.families.FamilyJackknife`) are those of the jackknife, else n.
    """

    r: pd.DataFrame
    p: pd.DataFrame
    p_adjusted: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    n: int
    method: str
    confidence: float
    interval: str
    adjustment: str
    n_families: int
    effective_families: float

    def tidy(self) -> pd.DataFrame:
        """One row a pair of tasks (upper triangle): task_a, task_b, r, p, p_adjusted, low, high, n."""
        rows, columns = np.triu_indices(len(self.r), 1)
        names = self.r.columns.to_numpy()
        out = pd.DataFrame({"task_a": names[rows], "task_b": names[columns]})
        for key in ("r", "p", "p_adjusted", "low", "high"):
            out[key] = getattr(self, key).to_numpy()[rows, columns]
        out["n"] = self.n
        return out


def correlation_matrix(
    scores: pd.DataFrame,
    method: str = "pearson",
    *,
    confidence: float = 0.95,
    interval: str = "fisher",
    adjustment: str = "bh",
    resamples: int = 10_000,
    clusters: Sequence[object] | None = None,
    seed: int = 0,
) -> CorrelationMatrix:
    """Correlate every pair of tasks over encoders.

    Args:
        scores: encoders x tasks (E, T), or a tidy frame with the columns encoder, task and score (averaged over seeds).
        method: "pearson" or "spearman" (ties get their mean rank).
        confidence: level of the intervals.
        interval: "fisher" (z transform; Bonett and Wright's variance for Spearman), "bootstrap" (percentiles over
            ``resamples`` resamplings of encoders) or "jackknife" (each of ``clusters`` left out in turn, Student's t:
            the one that holds where encoders come in families). Fisher's coverage is right for normal scores and falls
            to about .82 for heavy tails with a large correlation; the percentile bootstrap's is .91 to .93 at n = 30.
        adjustment: "bh" (Benjamini-Hochberg false discovery rate), "holm" (family-wise), or "max" (permutation of the
            largest ``|r|`` of the whole matrix; family-wise when no two tasks are related).
        clusters: family of each encoder, because encoders of one method or data set are not independent. With
            "jackknife" p and interval are those of :func:`virb.stats.families.family_jackknife`, or those that count
            encoders where these are wider. The bootstrap resamples families whole and p comes from the same resamples
            (:func:`bootstrap_p`), "max" being the largest standardised deviation over all pairs; both are too small: at
            .05 unrelated tasks are found related in .10 to .13 of studies.
        seed: of the resampling.

    Returns:
        CorrelationMatrix with T x T frames r, p, p_adjusted, low, high. Up to nine encoders p is exact, from all orders
        of one task (:func:`virb.stats.exact.permutation_p`), beyond by Student's t; an interval reaches 0 wherever p
        says that 0 is not excluded.

    Raises:
        ScoresError: fewer than 3 encoders or 2 tasks, a missing or infinite score, or a task on which all encoders
            score the same (its correlation does not exist). The text names it.

    >>> scores = pd.DataFrame({"depth": [1.0, 2, 3, 4, 5], "flow": [2.0, 1, 4, 3, 5]}, index=list("abcde"))
    >>> found = correlation_matrix(scores)
    >>> float(found.r.loc["depth", "flow"].round(6)), float(found.p.loc["depth", "flow"].round(3))  # 16 of 120 orders
    (0.8, 0.133)
    """
    _one_of("method", method, METHODS)
    _one_of("interval", interval, INTERVALS)
    _one_of("adjustment", adjustment, ADJUSTMENTS)
    if not 0 < confidence < 1:
        raise ScoresError(f"confidence={confidence} is not a level between 0 and 1.")
    table = score_table(scores)
    if (interval == "jackknife" and clusters is None) or (interval == "fisher" and clusters is not None):
        raise ScoresError(
            "Families (clusters) go with interval='jackknife' or 'bootstrap', and the jackknife leaves out families: found "
            f"interval={interval!r} {'without' if clusters is None else 'with'} clusters."
        )
    raw = settled(table.to_numpy(float))
    n = len(raw)
    x = scipy_stats.rankdata(raw, axis=0) if method == "spearman" else raw
    n_families, effective = n, float(n)
    r = _correlate(x)
    upper = np.triu_indices(len(r), 1)
    draws = None
    if interval == "bootstrap":
        draws = bootstrap_correlations(raw, method, resamples=resamples, clusters=clusters, seed=seed)
    if clusters is None or draws is None:
        p, largest = correlation_p(x), None
    else:
        single, largest = bootstrap_p(r[upper], draws)
        p = _square(single, len(r))
    np.fill_diagonal(p, 0.0)
    if draws is None:
        low, high = _reaching_zero(*fisher_interval(r, n, confidence=confidence, method=method), p > 1 - confidence)
    else:
        tail = 50 * (1 - confidence)
        # A resample in which a task is constant has no correlation; it is left out of that pair's percentiles.
        low, high = (_square(np.nanpercentile(draws, q, axis=0), len(r)) for q in (tail, 100 - tail))
    if interval == "jackknife" and clusters is not None:

        def correlate(rows: np.ndarray) -> np.ndarray:
            return _correlate(scipy_stats.rankdata(rows, axis=0) if method == "spearman" else rows)

        left_out = family_jackknife(raw, clusters, correlate, confidence=confidence)
        n_families, effective = left_out.n_families, left_out.effective
        p = np.maximum(p, _square(left_out.p, len(r)))
        low = np.minimum(low, _square(left_out.low, len(r)))
        high = np.maximum(high, _square(left_out.high, len(r)))
    np.fill_diagonal(low, 1.0)
    np.fill_diagonal(high, 1.0)
    if adjustment == "max" and largest is not None:
        adjusted = largest
    elif adjustment == "max" and clusters is not None:
        raise ScoresError(
            "adjustment='max' shuffles encoders one by one; with the jackknife over families take 'holm'."
        )
    elif adjustment == "max":
        adjusted = np.maximum(max_statistic_p(x, samples=resamples, seed=seed)[upper], p[upper])
    else:
        adjusted = adjust_p(p[upper], adjustment)

    def frame(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=table.columns, columns=table.columns)

    return CorrelationMatrix(
        r=frame(r),
        p=frame(p),
        p_adjusted=frame(_square(adjusted, len(r))),
        low=frame(low),
        high=frame(high),
        n=n,
        method=method,
        confidence=confidence,
        interval=interval,
        adjustment=adjustment,
        n_families=n_families,
        effective_families=effective,
    )


def score_table(
    scores: pd.DataFrame, *, min_encoders: int = 3, min_tasks: int = 2, may_be_constant: bool = False
) -> pd.DataFrame:
    """Return encoders x tasks, checked: enough of both, every score finite, no task constant unless it may be.

    Raises:
        ScoresError: naming the encoder or task at fault.
    """
    if not isinstance(scores, pd.DataFrame):
        scores = pd.DataFrame(np.asarray(scores))
    if {"encoder", "task", "score"} <= set(scores.columns):
        scores = scores.pivot_table(
            index="encoder",
            columns="task",
            values="score",
            aggfunc=lambda cell: cell.mean(skipna=False),
            sort=False,
            dropna=False,
        )
    words = [str(column) for column in scores.columns if not pd.api.types.is_numeric_dtype(scores[column])]
    if words:
        raise ScoresError(
            f"The columns {', '.join(words)} are not numbers. Expected one row an encoder (its name as the index) and "
            f"one column a task."
        )
    if len(scores) < min_encoders:
        raise ScoresError(
            f"This needs at least {min_encoders} encoders; found {len(scores)} "
            f"({', '.join(map(str, scores.index)) or 'none'}). Evaluate more encoders on the same tasks."
        )
    if scores.shape[1] < min_tasks:
        raise ScoresError(
            f"This needs at least {min_tasks} tasks; found {scores.shape[1]} ({', '.join(map(str, scores.columns))})."
        )
    values = scores.to_numpy(float)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        cells = [f"{scores.index[i]} on {scores.columns[j]}" for i, j in bad[:6]]
        more = f" and {len(bad) - 6} more" if len(bad) > 6 else ""
        raise ScoresError(
            f"{len(bad)} scores are missing or not finite: {', '.join(cells)}{more}. Complete them, or leave those "
            f"encoders or tasks out; nothing is filled in or dropped silently."
        )
    constant = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(axis=0)
    if constant.any() and not may_be_constant:
        names = ", ".join(str(name) for name in scores.columns[constant])
        raise ScoresError(
            f"All encoders score the same on {names}, so nothing correlates with it. Leave the task out, or "
            f"check that its scores are real."
        )
    return scores


def _one_of(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ScoresError(f"Unknown {what} {value!r}; expected one of {', '.join(known)}.")


def _correlate(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=0)
    # Scaling by the largest deviation first keeps tiny scores (1e-200) from vanishing in the squares.
    centred /= np.abs(centred).max(axis=0)
    unit = centred / np.sqrt((centred**2).sum(axis=0))
    r: np.ndarray = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    return r


def _square(upper: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros((size, size))
    out[np.triu_indices(size, 1)] = upper
    return out + out.T


def pearson_p(r: np.ndarray, n: int) -> np.ndarray:
    """Two-sided p of a correlation of ``n`` pairs by Student's t with n - 2 degrees of freedom."""
    r = np.asarray(r, float)
    with np.errstate(divide="ignore"):
        t = np.abs(r) * np.sqrt((n - 2) / np.maximum((1 - r) * (1 + r), 0.0))
    return np.asarray(2 * scipy_stats.t.sf(t, n - 2))


def correlation_p(x: np.ndarray) -> np.ndarray:
    """Two-sided p of every correlation of (n, T) scores or ranks: exact up to nine encoders, by Student's t beyond."""
    return permutation_p(x) if len(x) <= EXACT_UP_TO else pearson_p(_correlate(np.asarray(x, float)), len(x))


def fisher_interval(
    r: np.ndarray, n: int, *, confidence: float = 0.95, method: str = "pearson"
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a correlation of ``n`` pairs through Fisher's z; [-1, 1] when n = 3, where its variance is infinite.

    For Spearman the variance of z is (1 + r^2 / 2) / (n - 3) (Bonett and Wright 2000), else 1 / (n - 3). Where ``|r|`` is 1,
    z is infinite: the far end is then that of the largest |r| below 1 that ranks of n pairs can have, for n pairs in line
    do not show that all would be.
    """
    r = np.asarray(r, float)
    if n <= 3:
        return np.full(r.shape, -1.0), np.ones_like(r)
    is_whole = np.abs(r) > 1 - 1e-12
    finite = np.where(is_whole, np.sign(r) * largest_below_one(n), r)
    variance = (1 + finite**2 / 2 if method == "spearman" else np.ones_like(r)) / (n - 3)
    half = scipy_stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(variance)
    z = np.arctanh(finite)
    low, high = np.tanh(z - half), np.tanh(z + half)
    return np.where(is_whole & (r < 0), -1.0, low), np.where(is_whole & (r > 0), 1.0, high)


def _reaching_zero(low: np.ndarray, high: np.ndarray, is_open: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An interval may not leave out a 0 that the exact test does not exclude."""
    return np.where(is_open, np.minimum(low, 0.0), low), np.where(is_open, np.maximum(high, 0.0), high)


def adjust_p(p: np.ndarray, method: str = "bh") -> np.ndarray:
    """Adjust p-values for their number: "bh" (Benjamini and Hochberg 1995) or "holm" (Holm 1979).

    Raises:
        ScoresError: a p is NaN or outside [0, 1]; a NaN is never counted as a test, nor spread over the others.

    >>> adjust_p(np.array([0.01, 0.04, 0.03]), "holm").round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    _one_of("adjustment", method, ("bh", "holm"))
    p = np.asarray(p, float)
    if np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise ScoresError(
            "A p-value to adjust is missing or not between 0 and 1. Leave out the tests that could not be made."
        )
    if (
        method == "holm"
    ):  # written out, as statsmodels collects garbage with every call: .1 s, and .6 s beside many objects
        order = np.argsort(p)
        adjusted = np.empty_like(p)
        adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
        return adjusted
    from statsmodels.stats.multitest import multipletests

    return np.asarray(multipletests(p, method="fdr_bh")[1]) if len(p) else p


def max_statistic_p(x: np.ndarray, *, samples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Family-wise p of every correlation: how often the largest ``|r|`` of shuffled tasks reaches it (Westfall and Young).

    Each task's scores are shuffled over encoders on their own, so the null is that no two tasks are related.

    Args:
        x: (E, T) scores, or their ranks for Spearman.
        samples: shuffles B; p = (1 + count) / (1 + B).

    Returns:
        (T, T) p-values, symmetric, 0 on the diagonal.
    """
    x = np.asarray(x, float)
    n, t = x.shape
    observed = np.abs(_correlate(x))
    centred = x - x.mean(axis=0)
    unit = (centred / np.linalg.norm(centred, axis=0)).T  # (T, E)
    rng = np.random.default_rng(seed)
    upper = np.triu_indices(t, 1)
    largest = np.empty(samples)
    step = max(1, _BLOCK // (t * max(n, t)))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        shuffled = rng.permuted(np.broadcast_to(unit, (size, t, n)).copy(), axis=2)
        largest[start : start + size] = np.abs(shuffled @ shuffled.transpose(0, 2, 1))[:, upper[0], upper[1]].max(
            axis=1
        )
    largest.sort()
    # Rounding must not make an exact tie a miss: at small n the observed arrangement is itself among the shuffles.
    reached = samples - np.searchsorted(largest, observed - 1e-12, side="left")
    p: np.ndarray = (1 + reached) / (1 + samples)
    np.fill_diagonal(p, 0.0)
    return p


def leave_one_out_range(scores: pd.DataFrame, method: str = "pearson") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Smallest and largest r of every pair of tasks when each encoder in turn is left out (T x T frames).

    Raises:
        ScoresError: as :func:`correlation_matrix`; at least 4 encoders.
    """
    _one_of("method", method, METHODS)
    table = score_table(scores, min_encoders=4)
    x, n = table.to_numpy(float), len(table)
    size = table.shape[1]
    weights = (1.0 - np.eye(min(_LEFT_OUT, n - first), n, first) for first in range(0, n, _LEFT_OUT))
    draws = np.concatenate([weighted_correlations(x, some, method) for some in weights])

    def frame(values: np.ndarray) -> pd.DataFrame:
        full = _square(values, size)
        np.fill_diagonal(full, 1.0)
        return pd.DataFrame(full, index=table.columns, columns=table.columns)

    return frame(np.nanmin(draws, axis=0)), frame(np.nanmax(draws, axis=0))
