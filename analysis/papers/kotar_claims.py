"""Whether what Kotar et al. 2021 say holds: functions of a table of encoders and tasks with categories and roles."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.common import (
    STRONG,
    Grid,
    about,
    components,
    correlations,
    grid,
    self_supervised,
    told,
    unsure_of_readings,
    wide,
)

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.stats.claims import (
    difference_interval,
    jackknife,
    labelling_p,
    mean_interval,
    share_interval,
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
        f"{_said(by, '{:.0%}')}. One supervised run.{g.caution}",
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
        "over tasks. All are measured against one supervised run.",
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


def methods_by_output(tables: Evidence) -> Answer:
    """MoCo v2 is better on pixelwise tasks and SwAV on image-level ones, pairs of equal data compared."""
    frame = tables.get(SCORES, "category", "method", "dataset")
    first, second = tables.fact("methods")
    x = wide(frame)
    z = (x - x.mean()) / x.std(ddof=1)
    keys = [name for name in ("dataset", "dataset_size", "balance", "epochs") if name in frame]
    what = frame.drop_duplicates("encoder").set_index("encoder")
    pixelwise = about(frame, "category", "task").reindex(x.columns).str.endswith("pixelwise").to_numpy()
    gaps = []
    for _, group in what.groupby(keys, dropna=False):
        a, b = (list(group.index[group["method"].eq(name)]) for name in (first, second))
        if a and b:
            d = (z.loc[a].mean() - z.loc[b].mean()).to_numpy()
            gaps.append((float(np.nanmean(d[pixelwise])), float(np.nanmean(d[~pixelwise]))))
    if not gaps:
        raise NotThere(f"No two encoders of {first} and {second} were pretrained on the same data.")
    d = np.array(gaps)
    dense, image = mean_interval(d[:, 0]), mean_interval(d[:, 1])
    sides = (side(dense[1], dense[2]), -side(image[1], image[2]))
    verdict = HOLDS if sides == (1, 1) else FAILS if -1 in sides else UNTOLD
    gap, low, high = mean_interval(d[:, 0] - d[:, 1])
    return Answer(
        verdict,
        f"{first} less {second}: pixelwise {dense[0]:+.2f} sd ({dense[1]:+.2f} to {dense[2]:+.2f}), image-level {image[0]:+.2f} "
        f"({image[1]:+.2f} to {image[2]:+.2f}); their difference {gap:+.2f}.",
        len(d),
        "pairs of one data set",
        gap,
        low,
        high,
        "sd of the task",
        about="data sets like these",
    )


def cka_higher_in_moco(tables: Evidence) -> Answer:
    """Layers of MoCo v2 encoders agree more with each other than those of SwAV encoders."""
    frame = tables.get("cka", "method")
    first, second = tables.fact("methods")
    a, b = (frame[frame["method"].eq(name)]["score"].to_numpy() for name in (first, second))
    if not len(a) or not len(b):
        raise NotThere(f"No layers of both {first} and {second} were compared.")
    gap, low, high = difference_interval(a, b)
    return Answer(
        told(side(low, high)),
        f"Mean CKA between layers, {first} less {second}: {gap:+.2f}.",
        len(a) + len(b),
        "encoders",
        gap,
        low,
        high,
        "CKA",
        about=ALIKE,
    )


def in_domain_is_best(tables: Evidence) -> Answer:
    """For each end task with a data set of its own, the best encoder was pretrained on that set."""
    return _domain(tables, against="others")


def in_domain_beats_combination(tables: Evidence) -> Answer:
    """Encoders pretrained on the task's own data are above those pretrained on a mixture that holds a part of it."""
    return _domain(tables, against="combination")


def _domain(tables: Evidence, against: str) -> Answer:
    frame = self_supervised(tables.get(SCORES, "method", "dataset"))
    home = tables.fact("home")
    x = wide(frame)
    dataset = about(frame, "dataset").reindex(x.index)
    parts = dataset.map(components)
    pooled = parts.map(len).gt(1) | dataset.astype(str).eq("Combination")
    is_best, margins, chances = [], [], []
    for task, own in home.items():
        if task not in x:
            continue
        inside = (parts.map(lambda p, own=own: own in p) & ~pooled).to_numpy()
        outside = (pooled if against == "combination" else ~parts.map(lambda p, own=own: own in p)).to_numpy()
        if not inside.any() or not outside.any():
            continue
        z = ((x[task] - x[task].mean()) / x[task].std(ddof=1)).to_numpy()
        is_best.append(z[inside].max() > z[outside].max())
        margins.append(float(z[inside].mean() - z[outside].mean()))
        chances.append(inside.sum() / (inside.sum() + outside.sum()))
    if not margins:
        raise NotThere("No task has a data set of its own among those that the encoders were pretrained on.")
    k, n = sum(is_best), len(is_best)
    mean, low, high = mean_interval(margins)
    p_all = float(np.prod(chances))
    return Answer(
        HOLDS if k == n and low > 0 else FAILS if k == 0 and high < 0 else UNTOLD,
        f"The best encoder is of the task's own data on {k} of {n} tasks (by luck alone on all with p {p_all:.3f}); its mean is "
        f"{mean:+.2f} sd above that of {'the mixture' if against == 'combination' else 'other data'}.",
        n,
        "tasks with data of their own",
        mean,
        low,
        high,
        "sd of the task",
        p_all,
        about="tasks like these",
    )


def unbalanced_is_as_good(tables: Evidence) -> Answer:
    """Encoders of unbalanced data are not worse than those of balanced data of the same size."""
    return _balance(tables, None)


def log_unbalanced_is_better(tables: Evidence) -> Answer:
    """Encoders of the heavily unbalanced (Log) data are better than those of balanced data of the same size."""
    return _balance(tables, "log")


def _balance(tables: Evidence, kind: str | None) -> Answer:
    if "printed-anova" in tables.frames:
        printed = tables.get("printed-anova").set_index("task")["score"]
        lin, log = float(printed["p lin"]), float(printed["p log"])
        gain = float(printed["effect log"])
        if kind is None:
            why = (
                f"The paper prints p {lin:.4f} for 1/2-Lin and no interval; four pairs of encoders were compared, so a "
                "difference of the size found for 1/4-Log would hardly have been seen: no evidence is not evidence of none."
            )
            return Answer(UNTOLD, why, 4, "pairs of encoders", about=ALIKE)
        why = (
            f"Printed: {gain:+.2f} % of the average score, p {log:.4f} ({2 * log:.3f} by Holm over the two contrasts), from a model "
            "that counts each encoder's 20 tasks as independent. With an encoder effect of .3 to .5 of the residual sd such a p or a "
            "smaller one comes in 11 to 26 % of studies without any effect; counted by encoder there are four unbalanced ones."
        )
        return Answer(UNTOLD, why, 4, "encoders of Log", gain, unit="% of the average score", pvalue=log, about=ALIKE)
    frame = tables.get(SCORES, "balance", "method", "dataset_size")
    frame = self_supervised(frame)
    x = wide(frame)
    z = ((x - x.mean()) / x.std(ddof=1)).mean(axis=1)
    what = frame.drop_duplicates("encoder").set_index("encoder")
    gaps = []
    for name, row in what.iterrows():
        if row["balance"] not in (("lin", "log") if kind is None else (kind,)):
            continue
        twin = what[what["balance"].eq("balanced") & what["method"].eq(row["method"])]
        size = pd.to_numeric(twin["dataset_size"], errors="coerce") / float(row["dataset_size"])
        twin = twin[size.between(0.9, 1.1)]
        if len(twin):
            gaps.append((str(row["method"]), float(z[name] - z[list(twin.index)].mean())))
    if not gaps:
        raise NotThere("No unbalanced encoder has a balanced one of its method and size beside it.")
    by_method = pd.DataFrame(gaps, columns=["method", "gap"]).groupby("method")["gap"].mean()
    mean, low, high = mean_interval(by_method)
    verdict = told(side(low, high)) if kind else (HOLDS if low > -0.2 else FAILS if high < 0 else UNTOLD)
    return Answer(
        verdict,
        f"Unbalanced less balanced of the same size: {mean:+.2f} sd of a task on average over {len(gaps)} pairs"
        + ("" if kind else "; as good is called no worse than .2 sd")
        + ".",
        len(by_method),
        "methods",
        mean,
        low,
        high,
        "sd of the task",
        about="methods like these",
    )


def seeds_hardly_matter(tables: Evidence) -> Answer:
    """Scores of encoders that differ by the seed of pretraining alone vary by less than .85 % of their mean."""
    if "printed-seeds" in tables.frames:
        printed = tables.get("printed-seeds")
        n = int(printed["n_seeds"].iloc[0])
        value = float(printed["score"].iloc[0])
        from scipy import stats

        # The three runs are the same on every task: two degrees of freedom, not forty.
        low, high = (float(value * np.sqrt((n - 1) / stats.chi2.ppf(q, n - 1))) for q in (0.975, 0.025))
        return Answer(
            UNTOLD,
            f"Printed: below {value:g} % on average, of {n} runs of one encoder. Of a spread seen in {n} runs that are the same on "
            f"every task the 95 % interval is {low:.2g} to {high:.2g} %; other methods and data were not repeated.",
            n,
            "seeds of one encoder",
            value,
            low,
            high,
            "% of the mean",
            about=ALIKE,
        )
    frame = tables.get(SCORES, "repeat", "pretrain_seed")
    groups = frame.dropna(subset=["repeat"]).groupby("repeat")
    spreads = []
    for _, group in groups:
        x = wide(group)
        if len(x) >= 2:
            relative = ((x - x.mean()).abs().mean() / x.mean().abs()).mean() * 100
            spreads.append(float(relative))
    if not spreads:
        raise NotThere("No two encoders are declared to differ by their seed alone.")
    mean, low, high = mean_interval(spreads)
    return Answer(
        told(side(-high, -low, -0.85)),
        f"Mean relative difference from the mean over seeds: {', '.join(f'{value:.2f}' for value in spreads)} %.",
        len(spreads),
        "encoders with repeats",
        mean,
        low,
        high,
        "% of the mean",
        about=ALIKE,
    )


def swav_better_overall(tables: Evidence) -> Answer:
    """SwAV's encoders score higher than MoCo v2's over the whole battery."""
    frame = tables.get(SCORES, "method", "dataset")
    first, second = tables.fact("methods")
    x = wide(frame)
    z = ((x - x.mean()) / x.std(ddof=1)).mean(axis=1)
    what = frame.drop_duplicates("encoder").set_index("encoder")
    keys = [name for name in ("dataset", "dataset_size", "balance", "epochs") if name in frame]
    gaps = []
    for _, group in what.groupby(keys, dropna=False):
        a, b = (z[list(group.index[group["method"].eq(name)])] for name in (second, first))
        if len(a) and len(b):
            gaps.append(float(a.mean() - b.mean()))
    if not gaps:
        raise NotThere(f"No two encoders of {first} and {second} were pretrained on the same data.")
    mean, low, high = mean_interval(gaps)
    k = sum(gap > 0 for gap in gaps)
    share = share_interval(k, len(gaps))
    return Answer(
        told(side(low, high)),
        f"{second} less {first} on the same data: {mean:+.2f} sd, above on {k} of {len(gaps)} data sets (95 % of such shares "
        f"{share[1]:.2f} to {share[2]:.2f}).",
        len(gaps),
        "pairs of one data set",
        mean,
        low,
        high,
        "sd of the task",
        about="data sets like these",
    )
