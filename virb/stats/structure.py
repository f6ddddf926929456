"""The structure among end tasks: a tree of them, whether categories are pockets, and which tasks suffice."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from virb.errors import ScoresError
from virb.stats.bootstrap import bootstrap_correlations
from virb.stats.correlation import correlation_matrix, score_table


@dataclass(frozen=True)
class Dendrogram:
    """Average-linkage tree of tasks under 1 - r. ``support[k]`` is the share of resampled trees that hold the tasks of
    ``linkage`` row k together as a branch of their own."""

    linkage: np.ndarray
    support: np.ndarray
    tasks: tuple[str, ...]
    n: int


def dendrogram(scores: pd.DataFrame, method: str = "spearman", *, resamples: int = 1000, seed: int = 0) -> Dendrogram:
    """Cluster tasks by correlation over encoders, with bootstrap support of every branch.

    Raises:
        ScoresError: as :func:`correlation_matrix`; at least 3 tasks.
    """
    table = score_table(scores, min_tasks=3)
    result = correlation_matrix(table, method)
    tree = _tree(result.r.to_numpy()[np.triu_indices(table.shape[1], 1)])
    branches = _branches(tree)
    draws = bootstrap_correlations(table.to_numpy(float), method, resamples=resamples, seed=seed)
    counts = np.zeros(len(branches))
    whole = draws[np.isfinite(draws).all(axis=1)]  # a resample with a constant task has no tree
    for draw in whole:
        found = set(_branches(_tree(draw)))
        counts += [branch in found for branch in branches]
    support = counts / len(whole) if len(whole) else np.full(len(branches), np.nan)
    return Dendrogram(tree, support, tuple(str(task) for task in table.columns), len(table))


def _tree(correlations: np.ndarray) -> np.ndarray:
    return np.asarray(hierarchy.linkage(np.clip(1 - correlations, 0, 2), method="average"))


def _branches(tree: np.ndarray) -> list[frozenset[int]]:
    n = len(tree) + 1
    sets: list[frozenset[int]] = [frozenset([k]) for k in range(n)]
    for a, b, *_ in tree:
        sets.append(sets[int(a)] | sets[int(b)])
    return sets[n:]


@dataclass(frozen=True)
class Pockets:
    """Mean r inside categories, between them, their difference, and its one-sided p from permuted category labels."""

    inside: float
    between: float
    statistic: float
    pvalue: float
    exact: bool
    adjusted_rand: float
    by_category: pd.DataFrame  # category, n_tasks, inside, p (that category alone)


def pocket_test(r: pd.DataFrame, categories: pd.Series, *, samples: int = 20_000, seed: int = 0) -> Pockets:
    """Are tasks of one category more correlated with each other than with the others?

    Category labels are permuted over tasks, which keeps the correlations as they depend on each other (a Mantel test).
    ``adjusted_rand`` compares the categories with as many clusters cut from the average-linkage tree.

    Args:
        r: (T, T) correlations.
        categories: category of each task, indexed by task.

    Raises:
        ScoresError: fewer than 2 categories, or none with 2 tasks.
    """
    labels, names = pd.factorize(categories.loc[r.columns])
    sizes = np.bincount(labels)
    if len(sizes) < 2 or sizes.max() < 2:
        raise ScoresError(
            "Pockets need at least 2 categories, one of them with 2 tasks; found "
            f"{dict(zip(names, sizes.tolist(), strict=True))}."
        )
    values = r.to_numpy(float)
    rows, columns = np.triu_indices(len(values), 1)
    upper = values[rows, columns]
    orders_needed = math.factorial(len(labels)) / math.prod(math.factorial(int(s)) for s in sizes)
    is_exact = orders_needed <= samples and len(labels) <= 9
    if is_exact:
        orders = np.array(sorted(set(itertools.permutations(labels.tolist()))))
    else:
        rng = np.random.default_rng(seed)
        orders = rng.permuted(np.broadcast_to(labels, (samples, len(labels))).copy(), axis=1)

    def contrast(given: np.ndarray) -> np.ndarray:
        same = given[:, rows] == given[:, columns]
        total, n_same = same @ upper, same.sum(axis=1)
        return np.asarray(total / n_same - (upper.sum() - total) / (len(upper) - n_same))

    observed = float(contrast(labels[None])[0])
    null = contrast(orders)
    reached = int(np.sum(null >= observed - 1e-12))
    pvalue = reached / len(orders) if is_exact else (reached + 1) / (len(orders) + 1)
    rows_out = []
    for k, name in enumerate(names):
        own = (labels[rows] == k) & (labels[columns] == k)
        if not own.any():
            rows_out.append((name, int(sizes[k]), np.nan, np.nan))
            continue
        both = (orders[:, rows] == k) & (orders[:, columns] == k)
        level = both @ upper / own.sum()
        mine = float(upper[own].mean())
        hit = int(np.sum(level >= mine - 1e-12))
        rows_out.append((name, int(sizes[k]), mine, hit / len(orders) if is_exact else (hit + 1) / (len(orders) + 1)))
    same = labels[rows] == labels[columns]
    cut = hierarchy.fcluster(_tree(upper), t=len(sizes), criterion="maxclust")
    from sklearn.metrics import adjusted_rand_score

    return Pockets(
        float(upper[same].mean()),
        float(upper[~same].mean()),
        observed,
        pvalue,
        is_exact,
        float(adjusted_rand_score(labels, cut)),
        pd.DataFrame(rows_out, columns=["category", "n_tasks", "inside", "p"]),
    )


def cophenetic_distance(tree: np.ndarray) -> np.ndarray:
    """(T, T) height at which two tasks join in a tree."""
    return np.asarray(squareform(hierarchy.cophenet(tree)))
