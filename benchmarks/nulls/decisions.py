"""Two encoders against each other: over tasks, repeats and test images; and what could have been found."""

from __future__ import annotations

import numpy as np
from scipy import stats as scipy_stats

from nulls.row import LEVEL, Row, Study
from virb.stats.correlation import adjust_p, correlation_p
from virb.stats.decision import (
    Term,
    between_blocks,
    field_between_blocks,
    repeats_of_two,
    satterthwaite,
    shrunken_field,
    student_areas,
)
from virb.stats.effects import detectable_correlation, detectable_mean_difference
from virb.stats.granularity import class_deltas
from virb.stats.permutation import detectable_difference, miou_test, paired_permutation_test, sign_flip_test


def decided(
    categories: int, each: int, *, agree: float = 0.0, weights: tuple[float, ...] = (), ahead: float = 0.1
) -> Study:
    """decide over tasks of this kind: says better (P >= .95) although the true difference is the region, .1."""
    blocks = np.repeat(np.arange(categories), each)
    w = np.repeat(np.array(weights or [1 / categories] * categories), each) / each

    def study(rng: np.random.Generator) -> float:
        shared = rng.normal(size=categories)[blocks]
        d = ahead + np.sqrt(agree) * shared + np.sqrt(1 - agree) * rng.normal(size=len(blocks))
        term = between_blocks(d, w, blocks)
        if term is None:
            raise ValueError("one block has no spread")
        return float(student_areas(float(w @ d), *satterthwaite([term]), 0.1).better >= 0.95)

    return study


def these_tasks(rng: np.random.Generator) -> float:
    """decide on these very tasks: the 95 % interval from 5 paired repeats on 6 tasks and 2 + 2 pretrainings misses."""
    draw = rng.normal(size=(6, 5))
    scale = np.exp(rng.normal(size=(6, 1)))
    one, other = (draw + scale * rng.normal(size=(6, 5)) for _ in range(2))
    terms = []
    for x, y in zip(one, other, strict=True):
        variance, df = repeats_of_two(x, y, are_paired=True)
        terms.append(Term("", variance / 36, df))
    se, df = satterthwaite(terms)
    return float(abs((one - other).mean()) > scipy_stats.t.ppf(0.975, df) * se)


def field(k: int, n_tasks: int, *, spread: float = 0.0, each: int = 1) -> Study:
    """decide without a pair: the leader is better (P >= .95, region 0) than another of equal encoders."""
    blocks = np.repeat(np.arange(n_tasks // each), each)

    def study(rng: np.random.Generator) -> float:
        x = spread * np.linspace(1, 0, k)[:, None] + rng.normal(size=(k, n_tasks // each))[:, blocks]
        w = np.full(n_tasks, 1 / n_tasks)
        term = field_between_blocks(x, w, blocks)
        if term is None:
            raise ValueError("one block has no spread")
        means = x @ w
        posterior = shrunken_field(means, term.variance, term.df, draws=800, seed=int(rng.integers(1 << 30)))
        others = np.delete(posterior.against(int(means.argmax()), 0.0)[:, 0], means.argmax())
        return float(others.max() >= 0.95)

    return study


def best_of_all(k: int, n_tasks: int) -> Study:
    """decide without a pair: the leader of equal encoders is said to be the best of all with P >= .95."""

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(k, n_tasks))
        term = field_between_blocks(x, np.full(n_tasks, 1 / n_tasks), np.arange(n_tasks))
        if term is None:
            raise ValueError("one block has no spread")
        posterior = shrunken_field(x.mean(axis=1), term.variance, term.df, draws=400, seed=int(rng.integers(1 << 30)))
        return float(posterior.first.max() >= 0.95)

    return study


def of_images(n: int, *, gap: float = 0.0, metric: str = "top1", wrong: float = 0.3) -> Study:
    """significance: two heads that are wrong on other images of the same share; ``gap`` is how far their accuracies are."""

    def study(rng: np.random.Generator) -> float:
        target = np.minimum(rng.geometric(0.3, size=n), 5) if metric != "top1" else rng.integers(0, 5, size=n)
        one, other = (np.where(rng.uniform(size=n) < share, -1, target) for share in (wrong, wrong + gap))
        return float(paired_permutation_test(target, one, other, metric=metric, samples=499).pvalue <= LEVEL)

    return study


def of_masks(n: int) -> Study:
    """significance: mIOU of two heads on ``n`` images of three classes."""

    def study(rng: np.random.Generator) -> float:
        union = rng.integers(20, 200, size=(n, 3))
        inside = [np.round(union * rng.beta(4, 2, size=union.shape)).astype(int) for _ in range(2)]
        return float(miou_test(inside[0], union, inside[1], union, samples=499).pvalue <= LEVEL)

    return study


def of_errors(n: int) -> Study:
    """significance: skewed errors of images, such as depth's."""
    return lambda rng: float(
        sign_flip_test(np.exp(rng.normal(size=n)) - np.exp(rng.normal(size=n)), samples=499).pvalue <= LEVEL
    )


def worse_than_best(k: int, n: int, *, is_holm: bool = False) -> Study:
    """significance: share of equal encoders called worse than the best of them, which is chosen from the same images; or any is,
    after Holm's correction. Both are above .05, and what is found here is printed beside them."""
    target = np.zeros(n, int)

    def study(rng: np.random.Generator) -> float:
        right = rng.uniform(size=(k, n)) < 0.7
        best = int(right.sum(axis=1).argmax())
        others = [paired_permutation_test(target, 1 - right[best], 1 - right[j]).pvalue for j in range(k) if j != best]
        if is_holm:
            return float(adjust_p(np.array(others), "holm").min() <= LEVEL)
        return float(np.mean(np.array(others) <= LEVEL))

    return study


def any_class(n_classes: int, each: int) -> Study:
    """class-deltas: any class differs after Benjamini-Hochberg's correction."""
    target = np.repeat(np.arange(n_classes), each)

    def study(rng: np.random.Generator) -> float:
        heads = [np.where(rng.uniform(size=len(target)) < 0.4, (target + 1) % n_classes, target) for _ in range(2)]
        return float((class_deltas(target, *heads).table["p_bh"] <= LEVEL).any())

    return study


def found_of_means(n: int) -> Study:
    """anova, method-difference, setting-change: a difference said to be found four times in five, of two groups of n."""
    se, df = np.sqrt(2 / n), 2 * n - 2
    gap = detectable_mean_difference(float(se), df)
    return lambda rng: float(scipy_stats.ttest_ind(rng.normal(size=n) + gap, rng.normal(size=n)).pvalue <= LEVEL)


def found_of_correlation(n: int) -> Study:
    """correlation, detectable-effects: the smallest |r| said to be found four times in five."""
    r = detectable_correlation(n)
    return lambda rng: float(correlation_p(rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n))[0, 1] <= LEVEL)


def found_of_images(n: int) -> Study:
    """detectable-effects, significance: the smallest difference of accuracies said to be found four times in five."""
    gap = detectable_difference(n, 0.2)
    target = np.zeros(n, int)

    def study(rng: np.random.Generator) -> float:
        kind = rng.choice(3, size=n, p=[0.8, 0.1 + gap / 2, 0.1 - gap / 2])
        return float(paired_permutation_test(target, kind == 2, kind == 1).pvalue <= LEVEL)

    return study


ROWS = [
    Row("decide: better at the region's edge, 8 tasks", decided(8, 1), 400),
    Row("decide: better at the region's edge, tasks agree .8 in 4 categories", decided(4, 4, agree=0.8), 400),
    Row("decide: the same, weights .7 .1 .1 .1", decided(4, 4, agree=0.8, weights=(0.7, 0.1, 0.1, 0.1)), 400),
    Row("decide: interval on these very tasks misses, 5 repeats", these_tasks, 400),
    Row("decide: leader of 5 equal encoders better than another, 9 tasks", field(5, 9), 100),
    Row("decide: leader of 20 equal encoders better than another, 12 tasks", field(20, 12), 100),
    Row("decide: leader of 12 equal encoders, 3 categories of 4 alike", field(12, 12, each=4), 100),
    Row("power: decide, a pair 1 ahead, 8 tasks", decided(8, 1, ahead=1.1), 100, True),
    Row("power: decide, the leader of 6 spread over 3", field(6, 9, spread=3), 40, True),
    Row("decide: leader of 8 equal encoders best of all, 9 tasks", best_of_all(8, 9), 100),
    Row("significance: accuracies on 200 images", of_images(200), 400),
    Row(
        "significance: mean per-class accuracies, classes of unequal size, 200 images",
        of_images(200, metric="mean_per_class"),
        300,
        is_quick=False,
    ),
    Row("significance: mIOU on 30 images", of_masks(30), 150),
    Row("significance: skewed errors of 40 images", of_errors(40), 300),
    Row("power: accuracies .15 apart on 200 images", of_images(200, gap=0.15), 60, True),
    Row(
        "significance: each of 10 equal encoders worse than the best (said: .15)",
        worse_than_best(10, 400),
        60,
        bound=0.15,
    ),
    Row(
        "significance: any of 10 equal encoders worse than the best, Holm (said: .13)",
        worse_than_best(10, 400, is_holm=True),
        60,
        bound=0.13,
        is_quick=False,
    ),
    Row("class-deltas: any of 20 classes of 15 images after BH", any_class(20, 15), 100),
    Row("found four times in five: means of 6 and 6", found_of_means(6), 400, least=0.8),
    Row("found four times in five: a correlation over 12 encoders", found_of_correlation(12), 400, least=0.8),
    Row("found four times in five: accuracies on 500 images, .2 discordant", found_of_images(500), 300, least=0.78),
]
