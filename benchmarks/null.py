"""What every p and interval gives where nothing is there: nominal against found, with Monte Carlo errors.

Each row simulates studies under its null (small n, families, shared sources, categories whose tasks agree, one task in
percent, skewed scores) and counts how often .05 is reached, or how often an interval leaves out the truth. Power rows run the same tests
where something is there: a test that never rejects fails them. A row passes where what is found is no more than three Monte
Carlo errors beyond what is said.

Run: python benchmarks/null.py [--studies 1] [--row NAME]     (--studies 4: four times as many; exit status 1 if a row fails)
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from virb.stats.aggregation import Runs, improvement, improvement_interval, interquartile_mean, over_runs, over_tasks
from virb.stats.agreement import agreement
from virb.stats.cka import BlockGrams, cka_matrix
from virb.stats.correlation import adjust_p, correlation_matrix, correlation_p
from virb.stats.decision import (
    Term,
    between_blocks,
    field_between_blocks,
    repeats_of_two,
    satterthwaite,
    shrunken_field,
    student_areas,
)
from virb.stats.dyads import affinity
from virb.stats.factors import family_means, parallel_analysis
from virb.stats.pairs import ranked
from virb.stats.ranking import leader_against_others
from virb.stats.signed_rank import signed_rank_p
from virb.stats.standing import rank_bootstrap, shuffled_friedman_p

LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """``study(rng)`` gives the share of tests of one simulated study that reach .05 (or of intervals that miss).

    ``is_power``: something is there, and at least three times the level must be found.
    """

    name: str
    study: Callable[[np.random.Generator], float]
    studies: int
    is_power: bool = False
    bound: float = LEVEL  # more than .05 where "about 95%" is what is printed


@dataclass(frozen=True)
class Found:
    rate: float
    error: float
    is_power: bool
    bound: float

    @property
    def passes(self) -> bool:
        if self.is_power:
            return self.rate - 3 * self.error >= 3 * LEVEL
        return self.rate <= self.bound + 3 * self.error


def found(row: Row, times: float = 1, seed: int = 0) -> Found:
    """Simulate a row; the error is the spread between studies, for tests within one are not independent."""
    rng = np.random.default_rng(seed)
    rates = np.array([row.study(rng) for _ in range(max(20, int(row.studies * times)))])
    floor = np.sqrt(LEVEL * (1 - LEVEL) / len(rates)) if np.ptp(rates) == 0 else 0.0
    return Found(
        float(rates.mean()), float(max(rates.std(ddof=1) / np.sqrt(len(rates)), floor)), row.is_power, row.bound
    )


def pair(method: str, n: int, *, skew: float = 0.0, related: float = 0.0) -> Callable[[np.random.Generator], float]:
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
) -> Callable[[np.random.Generator], float]:
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


def categories(agree: float, *, spread: float = 0.0, each: int = 4) -> Callable[[np.random.Generator], float]:
    groups = pd.Series(np.repeat(np.arange(4), each))

    def study(rng: np.random.Generator) -> float:
        shared = np.repeat(rng.normal(size=(6, 4)), each, axis=1)
        x = (
            np.sqrt(agree) * shared
            + np.sqrt(1 - agree) * rng.normal(size=(6, 4 * each))
            + spread * np.arange(6)[:, None]
        )
        return float(shuffled_friedman_p(pd.DataFrame(x), groups, samples=199)[0] <= LEVEL)

    return study


def leader(k: int, n_tasks: int, *, ahead: float = 0.0) -> Callable[[np.random.Generator], float]:
    def study(rng: np.random.Generator) -> float:
        x = pd.DataFrame(rng.normal(size=(k, n_tasks)))
        x.iloc[0] += ahead
        return float(leader_against_others(x, samples=199).table["p"].min() <= LEVEL)

    return study


def one_pair(n_tasks: int, digits: int) -> Callable[[np.random.Generator], float]:
    return lambda rng: float(signed_rank_p(rng.normal(size=n_tasks).round(digits)) <= LEVEL)


def mean_rank(rng: np.random.Generator) -> float:
    table = rank_bootstrap(pd.DataFrame(rng.normal(size=(6, 6))), resamples=10)
    return float(((table["mean_low"] > 3.5) | (table["mean_high"] < 3.5)).mean())


def distances(
    s: int, t: int, *, source: float, slope: float = 0.0, percent: bool = False
) -> Callable[[np.random.Generator], float]:
    def study(rng: np.random.Generator) -> float:
        def values() -> np.ndarray:
            return source * rng.normal(size=(s, 1)) + rng.normal(size=(1, t)) + 0.5 * rng.normal(size=(s, t))

        d = values()
        y = values() - slope * d
        y[:, 0] *= 100 if percent else 1
        return float(affinity(pd.DataFrame(y), pd.DataFrame(d), samples=199).pvalue <= LEVEL)

    return study


def decided(
    categories: int, each: int, *, agree: float = 0.0, weights: tuple[float, ...] = (), ahead: float = 0.1
) -> Callable[[np.random.Generator], float]:
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


def field(k: int, n_tasks: int, *, spread: float = 0.0, each: int = 1) -> Callable[[np.random.Generator], float]:
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


def middle_of_tasks(n_tasks: int, n_runs: int) -> Callable[[np.random.Generator], float]:
    """aggregate: the interquartile mean's interval with other runs misses that of endless runs of these tasks."""

    def statistic(runs: Runs) -> np.ndarray:
        return interquartile_mean(runs.values, runs.weights())

    def study(rng: np.random.Generator) -> float:
        level = rng.normal(size=(n_tasks, 1, 1))
        endless = (level + 0.3 * rng.normal(size=(n_tasks, 1, 400))).ravel()
        truth = float(interquartile_mean(endless, np.full(len(endless), 1 / len(endless))))
        runs = Runs.of(list(level + 0.3 * rng.normal(size=(n_tasks, 1, n_runs))))
        return float(abs(statistic(runs)[0] - truth) > over_runs(runs, statistic).half()[0])

    return study


def improved(
    k: int, n_tasks: int, n_runs: int, *, each: int = 1, ahead: float = 0.0
) -> Callable[[np.random.Generator], float]:
    """aggregate: P(improvement) of the leader of equal encoders over some other is said to be above .5, with other tasks or runs."""
    blocks = np.repeat(np.arange(n_tasks // each), each)

    def study(rng: np.random.Generator) -> float:
        own = rng.normal(size=(k, n_tasks // each))[:, blocks] if n_runs == 1 else np.zeros((k, n_tasks))
        own = own + ahead * (np.arange(k) == 0)[:, None]
        runs = Runs.of([own[:, [t]] + 0.1 * rng.normal(size=(k, n_runs)) for t in range(n_tasks)])
        lead = int(interquartile_mean(runs.values, runs.weights()).argmax())
        others = np.delete(np.arange(k), lead)

        def statistic(some: Runs) -> np.ndarray:
            return improvement(some.values[lead], some.values[others], some.task).mean(axis=-1)

        spread = over_runs(runs, statistic) if n_runs > 1 else over_tasks(runs, statistic, blocks)
        most = float(n_runs * n_tasks if n_runs > 1 else blocks.max() + 1)
        low, _ = improvement_interval(statistic(runs), spread, most, families=k)
        return float((low > 0.5).any())

    return study


def strongest(
    k: int, n_tasks: int, *, each: int = 1, ahead: float = 0.0, model: str = "davidson"
) -> Callable[[np.random.Generator], float]:
    """paired-model: the strongest of equal encoders is told from another; one cell in ten is missing."""
    blocks = np.repeat(np.arange(n_tasks // each), each)

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(k, n_tasks // each))[:, blocks] + 0.3 * rng.normal(size=(k, n_tasks))
        x[0] += ahead
        x[rng.uniform(size=x.shape) < 0.1] = np.nan
        found = ranked(x, blocks, model=model)
        return float(found.is_told().any())

    return study


def axes_found(n: int, n_tasks: int, *, each: int = 1, shared: float = 0.0) -> Callable[[np.random.Generator], float]:
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


def batteries(*, apart: float = 0.0) -> Callable[[np.random.Generator], float]:
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


_MIX = np.random.default_rng(0).normal(size=(6, 6))


def cka_of_blocks(n_blocks: int) -> Callable[[np.random.Generator], float]:
    # Linear CKA of x with x W + 1.2 e in the population, from its covariances.
    cross, own = float((_MIX**2).sum()), _MIX.T @ _MIX + 1.44 * np.eye(6)
    truth = cross / np.sqrt(6 * float((own**2).sum()))

    def study(rng: np.random.Generator) -> float:
        grams = BlockGrams(["x", "y"])
        for _ in range(n_blocks):
            x = rng.normal(size=(32, 6))
            grams.add([x, x @ _MIX + 1.2 * rng.normal(size=(32, 6))])
        result = cka_matrix(grams)
        return float(not result.low[0, 1] <= truth <= result.high[0, 1])

    return study


UNEQUAL = [1, 1, 1, 2, 2, 3, 3, 5, 6, 8]
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
    Row("critical-difference: Friedman, tasks agree .8 in 4 categories", categories(0.8), 300),
    Row("critical-difference: Friedman, 4 categories of one task", categories(0.0, each=1), 300),
    Row("power: Friedman over 4 categories", categories(0.5, spread=0.8), 60, True),
    Row("critical-difference: leader against 4, 12 tasks", leader(5, 12), 200),
    Row("critical-difference: leader against 9, 12 tasks", leader(10, 12), 150),
    Row("critical-difference: leader against 19, 12 tasks", leader(20, 12), 100),
    Row("power: leader against 6, 10 tasks", leader(7, 10, ahead=4), 40, True),
    Row("critical-difference: Wilcoxon, ties and zeros, 8 tasks", one_pair(8, 0), 1000),
    Row("critical-difference: interval of the mean rank misses, 6 tasks", mean_rank, 200, bound=0.065),
    Row("distance-transfer: 4 sources with effects x 10 tasks", distances(4, 10, source=1), 400),
    Row("distance-transfer: 3 sources x 6 tasks, one in percent", distances(3, 6, source=1, percent=True), 400),
    Row("power: distance-transfer, slope .5", distances(6, 10, source=1, slope=0.5), 60, True),
    Row("decide: better at the region's edge, 8 tasks", decided(8, 1), 400),
    Row("decide: better at the region's edge, tasks agree .8 in 4 categories", decided(4, 4, agree=0.8), 400),
    Row("decide: the same, weights .7 .1 .1 .1", decided(4, 4, agree=0.8, weights=(0.7, 0.1, 0.1, 0.1)), 400),
    Row("decide: interval on these very tasks misses, 5 repeats", these_tasks, 400),
    Row("decide: leader of 5 equal encoders better than another, 9 tasks", field(5, 9), 100),
    Row("decide: leader of 20 equal encoders better than another, 12 tasks", field(20, 12), 100),
    Row("decide: leader of 12 equal encoders, 3 categories of 4 alike", field(12, 12, each=4), 100),
    Row("power: decide, a pair 1 ahead, 8 tasks", decided(8, 1, ahead=1.1), 100, True),
    Row("power: decide, the leader of 6 spread over 3", field(6, 9, spread=3), 40, True),
    Row("aggregate: interval of the interquartile mean misses, 8 tasks x 3 runs", middle_of_tasks(8, 3), 100),
    Row("aggregate: interval of the interquartile mean misses, 4 tasks x 5 runs", middle_of_tasks(4, 5), 100),
    Row("aggregate: leader of 2 equal encoders improves, 8 tasks", improved(2, 8, 1), 300),
    Row("aggregate: leader of 10 equal encoders improves, 8 tasks", improved(10, 8, 1), 100),
    Row("aggregate: leader of 6 improves, 4 categories of 4 alike", improved(6, 16, 1, each=4), 100),
    Row("aggregate: leader of 5 equal encoders improves, 4 tasks x 5 runs", improved(5, 4, 5), 100),
    Row("power: aggregate, P(improvement) of one 4 sd ahead of 5, 12 tasks", improved(6, 12, 1, ahead=4.0), 40, True),
    Row("paired-model: strongest of 6 equal encoders told from another, 10 tasks", strongest(6, 10), 80),
    Row("paired-model: the same, 4 categories of 4 alike", strongest(6, 16, each=4), 80),
    Row("paired-model: Plackett-Luce, strongest of 6, 10 tasks", strongest(6, 10, model="plackett-luce"), 60),
    Row("power: paired-model, one ahead of 5, 12 tasks", strongest(6, 12, ahead=3.0), 30, True),
    Row("factors: an axis in unrelated tasks, 12 encoders x 8", axes_found(12, 8), 200),
    Row("factors: an axis in unrelated tasks, 10 families x 3, averaged", axes_found(30, 6, each=3), 200),
    Row("power: factors, an axis with half of the variance, 20 x 8", axes_found(20, 8, shared=1.0), 30, True),
    Row("agreement: batteries of alike tasks agree less than splits, 12 encoders", batteries(), 100),
    Row("power: agreement of batteries with an axis each", batteries(apart=2.0), 30, True),
    Row("cka: interval of 5 blocks misses", cka_of_blocks(5), 150),
    Row("cka: interval of 10 blocks misses", cka_of_blocks(10), 100),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=float, default=1, help="times the studies of every row")
    parser.add_argument("--row", default="", help="only rows whose name has this in it")
    args = parser.parse_args()
    failed = []
    print("| what is printed | nominal | found | ± | studies | s | |\n|---|---|---|---|---|---|---|")
    for row in ROWS:
        if args.row not in row.name:
            continue
        start = time.perf_counter()
        result = found(row, args.studies)
        if not result.passes:
            failed.append(row.name)
        said = f"> {3 * LEVEL:.2f}" if row.is_power else f"{row.bound:.3g}"
        print(
            f"| {row.name} | {said} | {result.rate:.3f} | {result.error:.3f} | {max(20, int(row.studies * args.studies))} | "
            f"{time.perf_counter() - start:.1f} | {'' if result.passes else 'FAILS'} |",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
