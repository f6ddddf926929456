"""Correlations between tasks, their structure, and sets of tasks that tell the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from nulls.row import LEVEL, Row, Study
from virb.stats.agreement import agreement
from virb.stats.correlation import adjust_p, correlation_matrix, correlation_p
from virb.stats.factors import family_means, parallel_analysis
from virb.stats.structure import pocket_test


def pair(method: str, n: int, *, skew: float = 0.0, related: float = 0.0) -> Study:
    def study(rng: np.random.Generator) -> float:
        x = related * rng.normal(size=(n, 1)) + rng.normal(size=(n, 2))
        x = np.exp(skew * x) if skew else x
        return float(correlation_p(scipy_stats.rankdata(x, axis=0) if method == "spearman" else x)[0, 1] <= LEVEL)

    return study


def holm_of_tasks(rng: np.random.Generator) -> float:
    ranks = scipy_stats.rankdata(rng.normal(size=(6, 4)), axis=0)
    return float(adjust_p(correlation_p(ranks)[np.triu_indices(4, 1)], "holm").min() <= LEVEL)


def families(
    method: str, sizes: list[int], *, slope: float = 0.0, share: float = 0.67, is_interval: bool = False
) -> Study:
    member = np.repeat(np.arange(len(sizes)), sizes)
    upper = np.triu_indices(8, 1)

    def study(rng: np.random.Generator) -> float:
        def drawn(n: int) -> np.ndarray:
            own = rng.normal(size=(len(member), n))
            return np.sqrt(share) * rng.normal(size=(len(sizes), n))[member] + np.sqrt(1 - share) * own

        x = pd.DataFrame(slope * drawn(1) + drawn(8))
        result = correlation_matrix(x, method, interval="jackknife", clusters=list(member))
        if is_interval:
            true = slope**2 / (slope**2 + 1)
            return float(((result.low > true) | (result.high < true)).to_numpy()[upper].mean())
        return float((result.p.to_numpy()[upper] <= LEVEL).mean())

    return study


def axes_found(n: int, n_tasks: int, *, each: int = 1, shared: float = 0.0) -> Study:
    """factors: an axis in unrelated tasks; encoders in families of ``each`` that share two thirds of the variance, averaged."""

    def study(rng: np.random.Generator) -> float:
        family = np.repeat(np.arange(n // each), each)
        x = np.sqrt(0.67) * rng.normal(size=(n // each, n_tasks))[family] + np.sqrt(0.33) * rng.normal(
            size=(n, n_tasks)
        )
        x = x + shared * rng.normal(size=(n, 1))
        means = family_means(x, list(family)) if each > 1 else x
        return float(parallel_analysis(means, samples=99, seed=int(rng.integers(1 << 30))).n_axes > 0)

    return study


def batteries(*, apart: float = 0.0) -> Study:
    """agreement: two batteries of alike tasks are said to agree less than random splits."""

    def study(rng: np.random.Generator) -> float:
        own = rng.normal(size=(12, 2))
        one, other = (
            rng.normal(size=(12, 1)) + apart * own[:, [k]] + rng.normal(size=(12, n)) for k, n in ((0, 5), (1, 8))
        )
        if not apart:
            common = rng.normal(size=(12, 1))
            one, other = common + rng.normal(size=(12, 5)), common + rng.normal(size=(12, 8))
        return float(agreement(one, other, samples=99, seed=int(rng.integers(1 << 30))).p_less <= LEVEL)

    return study


UNEQUAL = [1, 1, 1, 2, 2, 3, 3, 5, 6, 8]


def interval(method: str, n: int, r: float) -> Study:
    """correlation: Fisher's interval of one pair misses; of ranks the truth is Spearman's of the normal, 6/pi asin(r/2)."""
    truth = 6 / np.pi * np.arcsin(r / 2) if method == "spearman" else r

    def study(rng: np.random.Generator) -> float:
        x = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n)
        result = correlation_matrix(pd.DataFrame(x), method)
        return float(not result.low.iloc[0, 1] <= truth <= result.high.iloc[0, 1])

    return study


def any_of_pairs(n: int, n_tasks: int, *, is_anchored: bool = False) -> Study:
    """correlation, task-scatter: any pair of unrelated tasks (or any with the anchor) after Benjamini-Hochberg's correction."""

    def study(rng: np.random.Generator) -> float:
        p = correlation_p(scipy_stats.rankdata(rng.normal(size=(n, n_tasks)), axis=0))
        own = p[0, 1:] if is_anchored else p[np.triu_indices(n_tasks, 1)]
        return float(adjust_p(own).min() <= LEVEL)

    return study


def pockets(n_categories: int, each: int, *, tightest: bool = False, agree: float = 0.0) -> Study:
    """task-tree: categories look like pockets, or the tightest does, although one axis is all that tasks share."""
    labels = pd.Series(np.repeat(np.arange(n_categories), each))

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(15, 1)) + rng.normal(size=(15, len(labels)))
        x = x + agree * rng.normal(size=(15, n_categories))[:, labels]
        found = pocket_test(pd.DataFrame(x).corr("spearman"), labels, samples=400, seed=int(rng.integers(1 << 30)))
        return float((adjust_p(found.by_category["p"].to_numpy(), "holm").min() if tightest else found.pvalue) <= LEVEL)

    return study


ROWS = [
    *[Row(f"correlation: Spearman's p, n = {n}", pair("spearman", n), 300) for n in (3, 4, 5, 6, 7)],
    *[
        Row(f"correlation: Pearson's p, lognormal scores, n = {n}", pair("pearson", n, skew=2), 300)
        for n in (4, 5, 6, 7)
    ],
    Row("correlation: Student's p of Spearman, n = 12", pair("spearman", 12), 1000),
    Row("correlation: Holm over 4 tasks, n = 6", holm_of_tasks, 200),
    Row("power: Spearman's p, n = 7, r = .86", pair("spearman", 7, related=2.5), 150, True),
    Row("correlation: Pearson's p, 6 families x 5", families("pearson", [5] * 6), 60),
    Row("correlation: Spearman's p, 6 families x 5", families("spearman", [5] * 6), 60),
    Row("correlation: Pearson's p, 16 families x 3", families("pearson", [3] * 16), 60),
    Row("correlation: Pearson's p, 10 families of 1 to 8", families("pearson", UNEQUAL), 60),
    Row("correlation: Pearson's p, 4 families x 5", families("pearson", [5] * 4), 60),
    Row(
        "correlation: interval misses r = .5, 10 families x 4",
        families("pearson", [4] * 10, slope=1, is_interval=True),
        60,
    ),
    Row("power: Pearson's p, 12 families x 3, r = .69", families("pearson", [3] * 12, slope=1.5), 40, True),
    Row("factors: an axis in unrelated tasks, 12 encoders x 8", axes_found(12, 8), 200),
    Row("factors: an axis in unrelated tasks, 10 families x 3, averaged", axes_found(30, 6, each=3), 200),
    Row("power: factors, an axis with half of the variance, 20 x 8", axes_found(20, 8, shared=1.0), 30, True),
    Row("agreement: batteries of alike tasks agree less than splits, 12 encoders", batteries(), 100),
    Row("power: agreement of batteries with an axis each", batteries(apart=2.0), 30, True),
    Row("correlation: Fisher's interval misses r = .5, n = 8", interval("pearson", 8, 0.5), 600),
    Row("correlation: Fisher's interval misses rho = .48, n = 8", interval("spearman", 8, 0.5), 600),
    Row("correlation: Fisher's interval misses rho = .79, n = 20", interval("spearman", 20, 0.8), 600),
    Row("correlation: any of 28 pairs after BH, n = 12", any_of_pairs(12, 8), 400),
    Row("task-scatter: any of 8 tasks after BH, n = 8", any_of_pairs(8, 9, is_anchored=True), 300),
    Row("task-tree: pockets, 4 categories of 4 on one axis", pockets(4, 4), 200),
    Row("task-tree: the tightest of 6 categories of 3, Holm", pockets(6, 3, tightest=True), 200, is_quick=False),
    Row("power: task-tree, categories with an axis each", pockets(4, 4, agree=0.7), 40, True),
]
