"""Who is ahead: rankings over tasks, aggregates, paired models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nulls.row import LEVEL, Row, Study
from virb.stats.aggregation import Runs, improvement, improvement_interval, interquartile_mean, over_runs, over_tasks
from virb.stats.pairs import ranked
from virb.stats.ranking import critical_difference, friedman, holm_wilcoxon, leader_against_others
from virb.stats.signed_rank import signed_rank_p
from virb.stats.standing import leader_by_luck, rank_bootstrap, shuffled_friedman_p


def categories(agree: float, *, spread: float = 0.0, each: int = 4) -> Study:
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


def leader(k: int, n_tasks: int, *, ahead: float = 0.0) -> Study:
    def study(rng: np.random.Generator) -> float:
        x = pd.DataFrame(rng.normal(size=(k, n_tasks)))
        x.iloc[0] += ahead
        return float(leader_against_others(x, samples=199).table["p"].min() <= LEVEL)

    return study


def one_pair(n_tasks: int, digits: int) -> Study:
    return lambda rng: float(signed_rank_p(rng.normal(size=n_tasks).round(digits)) <= LEVEL)


def mean_rank(rng: np.random.Generator) -> float:
    table = rank_bootstrap(pd.DataFrame(rng.normal(size=(6, 6))), resamples=10)
    return float(((table["mean_low"] > 3.5) | (table["mean_high"] < 3.5)).mean())


def middle_of_tasks(n_tasks: int, n_runs: int) -> Study:
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


def improved(k: int, n_tasks: int, n_runs: int, *, each: int = 1, ahead: float = 0.0) -> Study:
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


def strongest(k: int, n_tasks: int, *, each: int = 1, ahead: float = 0.0, model: str = "davidson") -> Study:
    """paired-model: the strongest of equal encoders is told from another; one cell in ten is missing."""
    blocks = np.repeat(np.arange(n_tasks // each), each)

    def study(rng: np.random.Generator) -> float:
        x = rng.normal(size=(k, n_tasks // each))[:, blocks] + 0.3 * rng.normal(size=(k, n_tasks))
        x[0] += ahead
        x[rng.uniform(size=x.shape) < 0.1] = np.nan
        found = ranked(x, blocks, model=model)
        return float(found.is_told().any())

    return study


def friedman_f(k: int, n_tasks: int) -> Study:
    """critical-difference: Iman and Davenport's p over independent tasks."""
    return lambda rng: float(friedman(pd.DataFrame(rng.normal(size=(k, n_tasks)))).f_pvalue <= LEVEL)


def beyond_nemenyi(k: int, n_tasks: int) -> Study:
    """critical-difference: any two of equal encoders are further apart than the critical difference."""
    limit = critical_difference(k, n_tasks)

    def study(rng: np.random.Generator) -> float:
        means = friedman(pd.DataFrame(rng.normal(size=(k, n_tasks)))).mean_ranks
        return float(np.ptp(means) > limit)

    return study


def any_of_categories(*, of_leader: bool) -> Study:
    """critical-difference: any of six equal encoders differ, by tests that count the 16 tasks of 4 categories as independent."""

    def study(rng: np.random.Generator) -> float:
        shared = np.repeat(rng.normal(size=(6, 4)), 4, axis=1)
        x = pd.DataFrame(np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=(6, 16)))
        p = leader_against_others(x, samples=199).table["p"] if of_leader else holm_wilcoxon(x)["p_holm"]
        return float(p.min() <= LEVEL)

    return study


def any_pair(k: int, n_tasks: int) -> Study:
    """critical-difference: any pair of equal encoders by Wilcoxon's test with Holm's correction."""
    return lambda rng: float(holm_wilcoxon(pd.DataFrame(rng.normal(size=(k, n_tasks))))["p_holm"].min() <= LEVEL)


def first(k: int, n_tasks: int) -> Study:
    """critical-difference: P(first) of the leader of equal encoders, beside what is said to be luck."""

    def study(rng: np.random.Generator) -> float:
        table = rank_bootstrap(pd.DataFrame(rng.normal(size=(k, n_tasks))), resamples=200)
        return float(table["p_first"].iloc[0])

    return study


def middle_of_kind(n_tasks: int) -> Study:
    """aggregate: the interquartile mean's interval with other tasks misses that of endless tasks of the kind."""

    def statistic(runs: Runs) -> np.ndarray:
        return interquartile_mean(runs.values, runs.weights())

    def study(rng: np.random.Generator) -> float:
        runs = Runs.of([rng.normal(size=(1, 1)) for _ in range(n_tasks)])
        half = over_tasks(runs, statistic, np.arange(n_tasks)).half()[0]
        return float(abs(statistic(runs)[0]) > half)

    return study


ROWS = [
    Row("critical-difference: Friedman, tasks agree .8 in 4 categories", categories(0.8), 300),
    Row("critical-difference: Friedman, 4 categories of one task", categories(0.0, each=1), 300),
    Row("power: Friedman over 4 categories", categories(0.5, spread=0.8), 60, True),
    Row("critical-difference: leader against 4, 12 tasks", leader(5, 12), 200),
    Row("critical-difference: leader against 9, 12 tasks", leader(10, 12), 150),
    Row("critical-difference: leader against 19, 12 tasks", leader(20, 12), 100),
    Row("power: leader against 6, 10 tasks", leader(7, 10, ahead=4), 40, True),
    Row("critical-difference: Wilcoxon, ties and zeros, 8 tasks", one_pair(8, 0), 1000),
    Row("critical-difference: interval of the mean rank misses, 6 tasks", mean_rank, 200, bound=0.065),
    Row(
        "critical-difference: any pair, tasks agree .8 in 4 categories (said: three in four)",
        any_of_categories(of_leader=False),
        60,
        bound=0.75,
    ),
    Row(
        "critical-difference: leader, tasks agree .8 in 4 categories (said: three in four)",
        any_of_categories(of_leader=True),
        60,
        bound=0.75,
    ),
    Row("aggregate: interval of the interquartile mean misses, 8 tasks x 3 runs", middle_of_tasks(8, 3), 100),
    Row("aggregate: interval of the interquartile mean misses, 4 tasks x 5 runs", middle_of_tasks(4, 5), 100),
    Row("aggregate: leader of 2 equal encoders improves, 8 tasks", improved(2, 8, 1), 300),
    Row("aggregate: leader of 10 equal encoders improves, 8 tasks", improved(10, 8, 1), 100),
    Row("aggregate: leader of 6 improves, 4 categories of 4 alike", improved(6, 16, 1, each=4), 100),
    Row("aggregate: leader of 5 equal encoders improves, 4 tasks x 5 runs", improved(5, 4, 5), 100),
    Row("power: aggregate, P(improvement) of one 4 sd ahead of 5, 12 tasks", improved(6, 12, 1, ahead=4.0), 40, True),
    Row("paired-model: strongest of 6 equal encoders told from another, 10 tasks", strongest(6, 10), 80),
    Row("paired-model: the same, 4 categories of 4 alike", strongest(6, 16, each=4), 80),
    Row(
        "paired-model: Plackett-Luce, strongest of 6, 10 tasks",
        strongest(6, 10, model="plackett-luce"),
        60,
        is_quick=False,
    ),
    Row("power: paired-model, one ahead of 5, 12 tasks", strongest(6, 12, ahead=3.0), 30, True),
    Row("critical-difference: Iman-Davenport's p, 6 encoders, 6 tasks", friedman_f(6, 6), 400),
    Row("critical-difference: any two beyond Nemenyi's difference, 6 encoders, 9 tasks", beyond_nemenyi(6, 9), 400),
    Row("critical-difference: any of 15 pairs, Wilcoxon with Holm, 12 tasks", any_pair(6, 12), 300, is_quick=False),
    Row(
        "critical-difference: P(first) of the leader of 6 equal, 9 tasks, beside luck",
        first(6, 9),
        200,
        bound=leader_by_luck(6, 9),
    ),
    Row(
        "critical-difference: P(first) of the leader of 30 equal, 6 tasks, beside luck",
        first(30, 6),
        200,
        bound=leader_by_luck(30, 6),
    ),
    Row("aggregate: interval of the interquartile mean with other tasks misses, 8 tasks", middle_of_kind(8), 300),
]
