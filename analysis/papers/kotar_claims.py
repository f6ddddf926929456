"""Whether what Kotar et al. 2021 say holds: functions of a table of encoders and tasks with categories and roles."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.common import (
    STRONG,
    Grid,
    correlations,
    grid,
    told,
    unsure_of_readings,
)

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.stats.claims import (
    difference_interval,
    jackknife,
    labelling_p,
    side,
)
from virb.stats.structure import pocket_test

SCORES = "figure4"
ALIKE = "encoders like these"


def _grid(tables: Evidence) -> Grid:
    found = grid(tables.get(SCORES, "category"))
    if not found.is_self.any():
        raise NotThere("No encoder is declared self-supervised.")
    return found


def _by(g: Grid, values: np.ndarray) -> dict[str, float]:
    return {str(name): float(np.nanmean(values[g.category == name])) for name in dict.fromkeys(g.category)}


def _said(by: dict[str, float], form: str = "{:+.2f}") -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in by.items())


def supervised_best_only_near_imagenet(tables: Evidence) -> Answer:
    """The supervised encoder is best on the tasks nearest to its labels and on no other."""
    g = _grid(tables)
    top = g.reference()
    near = frozenset(tables.fact("near_imagenet"))

    def lost(x: np.ndarray) -> frozenset[str]:
        gap = np.nanmax(x[g.rows], axis=0) - np.where(np.isfinite(x[top]), x[top], g.values[top])
        return frozenset(name for name, value in zip(g.tasks, gap, strict=True) if value < 0)

    found, n, n_tasks = lost(g.values), len(g.rows), len(g.tasks)
    answer = Answer(
        HOLDS if found == near else FAILS,
        f"The best of {n} self-supervised encoders is above the one supervised on {n_tasks - len(found)} of {n_tasks} tasks, below "
        f"on {', '.join(sorted(found)) or 'none'}. The best of {n} is above one equal encoder on {n_tasks * n / (n + 1):.1f} of "
        f"{n_tasks} by luck alone, so the count does not speak for self-supervision.",
        n, "encoders against one", n_tasks - len(found), unit="tasks", about="these encoders",
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lost))


def self_supervised_is_the_better_default(tables: Evidence) -> Answer:
    """A self-supervised encoder, taken as it comes and not as the best of many, is above the supervised one."""
    g = _grid(tables)
    top = g.reference()

    def above(x: np.ndarray) -> np.ndarray:
        won = (x[g.rows] > x[top]).astype(float)
        won[~np.isfinite(x[g.rows]) | ~np.isfinite(x[top])[None]] = np.nan
        return won

    def asked(x: np.ndarray) -> tuple[float, float, float]:
        won = above(x)
        return jackknife(lambda rows: float(np.nanmean(won[rows])), g.groups)

    mean, low, high = asked(g.values)
    by = dict(sorted(_by(g, np.nanmean(above(g.values), axis=0)).items(), key=lambda item: item[1]))
    answer = Answer(
        told(side(low, high, 0.5)),
        f"A self-supervised encoder taken at random is above the supervised one on {100 * mean:.0f} % of tasks: "
        f"{_said(by, '{:.0%}')}. One supervised encoder.{g.caution}",
        len(set(g.groups)), g.of, mean, low, high, "share of tasks", about=g.reach,
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: side(*asked(x)[1:], 0.5)))


def structural_gains_more(tables: Evidence) -> Answer:
    """(score - supervised) / sd of the task is larger on structural tasks than on semantic ones."""
    g = _grid(tables)
    top = g.reference()
    structural = np.char.startswith(g.category, "structural")

    def gains(x: np.ndarray) -> np.ndarray:
        base = np.where(np.isfinite(x[top]), x[top], g.values[top])
        return np.asarray((np.nanmean(x[g.rows], axis=0) - base) / np.nanstd(x, axis=0))

    def ask(x: np.ndarray, samples: int) -> tuple[str, float, float, float, float]:
        z = gains(x)
        gap, low, high = difference_interval(z[structural], z[~structural])
        p = labelling_p(z, structural, samples=samples)
        return told(side(low, high) if p <= 0.05 else 0), gap, low, high, p

    verdict, gap, low, high, p = ask(g.values, 10_000)
    answer = Answer(
        verdict,
        f"Structural less semantic {gap:+.2f} sd of the task ({_said(_by(g, gains(g.values)))}); p {p:.3f} from labels exchanged "
        "over tasks. All are measured against one supervised encoder.",
        len(g.tasks), "tasks", gap, low, high, "sd of the task", p, about="tasks like these, these encoders",
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: ask(x, 1_000)[0]))


def _with_imagenet(tables: Evidence) -> tuple[Grid, int, np.ndarray, np.ndarray]:
    """The grid, ImageNet's column, which other tasks are of its category, and its correlations over encoders."""
    g = _grid(tables)
    j = g.task(tables.fact("imagenet"))
    own = (g.category == g.category[j]) & (np.arange(len(g.tasks)) != j)
    return g, j, own, correlations(g.values[g.rows], j)


def strong_within_category(tables: Evidence) -> Answer:
    """ImageNet's correlation with the other tasks of its category is strong: the mean r above .5."""
    g, j, own, _ = _with_imagenet(tables)

    def mean_r(x: np.ndarray) -> float:
        return float(np.nanmean(correlations(x, j)[own]))

    estimate, low, high = jackknife(lambda rows: mean_r(g.values[g.rows[rows]]), g.groups, transformed=True)
    answer = Answer(
        told(side(low, high, STRONG)),
        f"Mean r with the {own.sum()} other {g.category[j]} tasks {estimate:.2f}; strong is called r > {STRONG}.{g.caution}",
        len(set(g.groups)), g.of, estimate, low, high, "r", about=g.reach,
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: mean_r(x[g.rows]) > STRONG))


def weaker_elsewhere(tables: Evidence) -> Answer:
    """ImageNet's correlation with tasks of other categories is weaker than with those of its own."""
    g, j, own, r = _with_imagenet(tables)
    others = np.arange(len(g.tasks)) != j

    def gap(x: np.ndarray) -> float:
        found = correlations(x, j)
        return float(np.nanmean(found[own]) - np.nanmean(found[others & ~own]))

    estimate, low, high = jackknife(lambda rows: gap(g.values[g.rows[rows]]), g.groups)
    p = labelling_p(r[others], own[others])
    answer = Answer(
        told(side(low, high) if p <= 0.05 else 0),
        f"Mean r by category: {_said(_by(g, np.where(others, r, np.nan)))}; own less others {estimate:.2f}, p {p:.4f} from labels "
        f"exchanged over tasks.{g.caution}",
        len(set(g.groups)), g.of, estimate, low, high, "r", p, about=g.reach,
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: gap(x[g.rows]) > 0))


def most_negative_category(tables: Evidence) -> Answer:
    """Of the categories, image-level structural tasks are the most negatively correlated with ImageNet."""
    g, j, _, r = _with_imagenet(tables)
    named = "structural image-level"
    if named not in g.category:
        raise NotThere(f"There are no {named} tasks.")

    def means(found: np.ndarray) -> dict[str, float]:
        found = found.copy()
        found[j] = np.nan
        return _by(g, found)

    def gap(x: np.ndarray) -> float:
        by = means(correlations(x, j))
        return min(value for name, value in by.items() if name != named) - by[named]

    estimate, low, high = jackknife(lambda rows: gap(g.values[g.rows[rows]]), g.groups)
    each = ", ".join(f"{g.tasks[k]} {r[k]:+.2f}" for k in np.flatnonzero(g.category == named))
    answer = Answer(
        told(side(low, high)),
        f"Mean r with ImageNet: {_said(means(r))}. The {named} tasks disagree: {each}. The estimate is how far they lie below the "
        f"next category.{g.caution}",
        len(set(g.groups)), g.of, estimate, low, high, "r", about=g.reach,
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: gap(x[g.rows]) > 0))


def no_task_predicts_all(tables: Evidence) -> Answer:
    """No end task, ImageNet among them, is correlated with every other one (r > .5)."""
    g = _grid(tables)
    j = g.task(tables.fact("imagenet"))

    def worst(x: np.ndarray) -> np.ndarray:
        r = np.stack([correlations(x, k) for k in range(x.shape[1])])
        np.fill_diagonal(r, np.inf)
        return np.asarray(np.nanmin(r, axis=1))

    estimate, low, high = jackknife(lambda rows: float(worst(g.values[g.rows[rows]]).max()), g.groups, transformed=True)
    lowest = worst(g.values[g.rows])
    answer = Answer(
        told(side(-high, -low, -STRONG)),
        f"Of all tasks {g.tasks[int(lowest.argmax())]} is the one whose least correlation is highest: r {estimate:+.2f} with the task it "
        f"tells least of; ImageNet's least is {lowest[j]:+.2f}. To predict is called r > {STRONG}.{g.caution}",
        len(set(g.groups)), g.of, estimate, low, high, "r", about=g.reach,
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: float(worst(x[g.rows]).max()) < STRONG))


def pockets_within_each_category(tables: Evidence) -> Answer:
    """Tasks of one category correlate with each other: in every category more than labels exchanged would give."""
    g = _grid(tables)
    category = pd.Series(g.category, index=g.tasks)

    def ask(x: np.ndarray, samples: int) -> tuple[str, float, pd.DataFrame, float]:
        r = pd.DataFrame(x, columns=g.tasks).corr(method="spearman")
        found = pocket_test(r, category, samples=samples)
        by = found.by_category.dropna(subset=["p"])
        verdict = HOLDS if by["p"].le(0.05).all() else UNTOLD if found.pvalue <= 0.05 else FAILS
        return verdict, found.statistic, by, found.pvalue

    verdict, gap, by, p = ask(g.values, 10_000)
    each = "; ".join(f"{row.category} {row.inside:+.2f} (p {row.p:.3f})" for row in by.itertuples())
    answer = Answer(
        verdict,
        f"Inside categories mean rho is {gap:.2f} above that between them (p {max(p, 1e-4):.4f}, labels exchanged over tasks), but category "
        f"by category: {each}.",
        len(g.tasks), "tasks", gap, unit="rho", pvalue=p, about="tasks like these, these encoders",
    )  # fmt: skip
    return unsure_of_readings(answer, g.agreement(lambda x: ask(x, 200)[0]))
