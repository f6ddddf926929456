"""How many axes tasks have: parallel analysis, bi-cross-validation, loadings and their spread.

Horn 1965, Glorfeld 1995 (95th percentile), Buja and Eyuboglu 1992 (permuted columns); Owen and Perry 2009 for holding out blocks of
encoders and tasks at once. Encoders of a family are not independent: a "family axis" is then found that no task has, so that families are
averaged first, or left out whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from virb.errors import ScoresError

#: Two tasks that order encoders so much alike (Spearman) are one for most purposes.
ALIKE = 0.95


@dataclass(frozen=True)
class Parallel:
    """Eigenvalues of the tasks' correlations (T,), largest first, beside those of unrelated tasks: their ``mean`` and ``bound``.

    ``n_axes`` counts the leading eigenvalues above the bound, ``n_by_mean`` those above the mean (Horn's own rule); ``n`` rows
    (encoders or families) are behind it.
    """

    eigenvalues: np.ndarray
    mean: np.ndarray
    bound: np.ndarray
    n_axes: int
    n_by_mean: int
    n: int


def eigenvalues(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of the correlations of columns (..., n, T), largest first; those beyond n - 1 are 0."""
    z = x - x.mean(axis=-2, keepdims=True)
    sd = np.sqrt((z**2).mean(axis=-2, keepdims=True))
    z = z / np.where(sd > 0, sd, 1.0)
    found = np.linalg.eigvalsh(np.swapaxes(z, -1, -2) @ z / x.shape[-2])
    return np.asarray(np.clip(found[..., ::-1], 0, None))


def parallel_analysis(x: np.ndarray, *, quantile: float = 0.95, samples: int = 400, seed: int = 0) -> Parallel:
    """Compare eigenvalues one by one with those of columns that are permuted independently.

    After a strong first axis the later bounds are too high, so that the number is rather too small than too large.

    Args:
        x: (n, T) scores, or their ranks, without a missing one; rows are independent: encoders, or means of families.

    Raises:
        ScoresError: fewer than 4 rows or 3 columns, or a missing score.
    """
    if x.ndim != 2 or x.shape[0] < 4 or x.shape[1] < 3 or not np.isfinite(x).all():
        raise ScoresError(
            f"Parallel analysis needs at least 4 rows and 3 tasks without a missing score; found {x.shape}."
        )
    found = eigenvalues(x)
    rng = np.random.default_rng(seed)
    null = np.stack([eigenvalues(rng.permuted(x, axis=0)) for _ in range(samples)])
    mean, bound = null.mean(axis=0), np.quantile(null, quantile, axis=0)
    return Parallel(found, mean, bound, _leading(found > bound), _leading(found > mean), len(x))


def _leading(is_above: np.ndarray) -> int:
    return int(is_above.size if is_above.all() else is_above.argmin())


def family_means(x: np.ndarray, labels: Sequence[object]) -> np.ndarray:
    """(G, T) mean of each family, in order of first appearance."""
    order = list(dict.fromkeys(labels))
    member = np.array([order.index(label) for label in labels])
    return np.stack([x[member == g].mean(axis=0) for g in range(len(order))])


def bi_cross_validation(
    x: np.ndarray, *, most: int = 6, labels: Sequence[object] | None = None, repeats: int = 10, seed: int = 0
) -> np.ndarray:
    """Mean squared error (most + 1,) with which 0, 1, ... axes predict blocks of encoders and tasks that were held out.

    Columns are standardised; a block A of rows and columns is predicted from B, C and D by B D_k^+ C (Owen and Perry 2009).

    Args:
        labels: family of each row: families are held out whole.
    """
    n, t = x.shape
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    groups = np.arange(n) if labels is None else np.unique([str(label) for label in labels], return_inverse=True)[1]
    most = min(most, min(n, t) // 2 - 1)
    rng = np.random.default_rng(seed)
    error, count = np.zeros(max(most, 0) + 1), 0
    for _ in range(repeats):
        halves = rng.permutation(groups.max() + 1)
        out_groups = set(halves[: max(1, len(halves) // 3)].tolist())
        rows = np.array([g in out_groups for g in groups])
        columns = np.zeros(t, bool)
        columns[rng.choice(t, size=max(1, t // 3), replace=False)] = True
        if rows.all() or not rows.any():
            continue
        a, b = z[np.ix_(rows, columns)], z[np.ix_(rows, ~columns)]
        c, d = z[np.ix_(~rows, columns)], z[np.ix_(~rows, ~columns)]
        u, s, v = np.linalg.svd(d, full_matrices=False)
        for k in range(len(error)):
            if k > (s > 1e-9 * s[0]).sum():
                break
            fitted = b @ (v[:k].T / s[:k]) @ (u[:, :k].T @ c) if k else np.zeros_like(a)
            error[k] += float(((a - fitted) ** 2).sum())
        count += a.size
    return error / max(count, 1)


@dataclass(frozen=True)
class Axes:
    """``loadings`` (T, k) are correlations of tasks with axes (varimax from two axes on, largest axis first, sums positive);
    ``se`` (T, k) their standard errors from leaving out encoders or families; ``places`` (n, k) standardised scores of
    encoders; ``shares`` (k,) of the tasks' variance."""

    loadings: np.ndarray
    se: np.ndarray
    places: np.ndarray
    shares: np.ndarray


def axes(x: np.ndarray, k: int, *, labels: Sequence[object] | None = None) -> Axes:
    """Principal axes of standardised tasks, turned by varimax where there are several.

    For the standard errors each family (or encoder) is left out in turn and the axes found are turned onto the whole ones (Procrustes):
    loadings turn freely, and unmatched they would seem to vary more than they do.

    Raises:
        ScoresError: k is not between 1 and the number of tasks.
    """
    n, t = x.shape
    if not 1 <= k <= min(n - 1, t):
        raise ScoresError(f"{k} axes of {t} tasks over {n} encoders do not exist.")
    loadings, places = _principal(x, k)
    turn = varimax(loadings)
    loadings, places = loadings @ turn, places @ turn
    order = np.argsort(-(loadings**2).sum(axis=0), kind="stable")
    sign = np.where(loadings.sum(axis=0) < 0, -1.0, 1.0)[order]
    loadings, places = loadings[:, order] * sign, places[:, order] * sign
    group = np.arange(n) if labels is None else np.unique([str(label) for label in labels], return_inverse=True)[1]
    left = []
    for g in range(group.max() + 1):
        part = x[group != g]
        if len(part) <= k or (part.std(axis=0) == 0).any():
            continue
        own = _principal(part, k)[0]
        u, _, v = np.linalg.svd(own.T @ loadings)
        left.append(own @ (u @ v))
    se = np.sqrt((len(left) - 1) * np.var(left, axis=0)) if len(left) > 1 else np.full(loadings.shape, np.nan)
    return Axes(loadings, se, places, (loadings**2).sum(axis=0) / t)


def _principal(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    u, s, v = np.linalg.svd(z, full_matrices=False)
    return v[:k].T * (s[:k] / np.sqrt(len(x))), u[:, :k] * np.sqrt(len(x))


def varimax(loadings: np.ndarray, *, iterations: int = 100) -> np.ndarray:
    """The rotation (k, k) under which the squared loadings of each axis vary most (Kaiser 1958)."""
    k = loadings.shape[1]
    turn = np.eye(k)
    if k < 2:
        return turn
    before = 0.0
    for _ in range(iterations):
        turned = loadings @ turn
        u, s, v = np.linalg.svd(loadings.T @ (turned**3 - turned * (turned**2).mean(axis=0)))
        turn = u @ v
        if s.sum() < before * (1 + 1e-10):
            break
        before = float(s.sum())
    return np.asarray(turn)
