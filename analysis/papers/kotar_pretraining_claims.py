"""Whether what Kotar et al. 2021 say of methods, data and seeds of pretraining holds: functions of the same tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.common import (
    about,
    components,
    one_a_design,
    self_supervised,
    told,
    wide,
)
from virb.analysis.papers.kotar_claims import ALIKE, SCORES

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.stats.claims import (
    difference_interval,
    mean_interval,
    share_interval,
    side,
)


def methods_by_output(tables: Evidence) -> Answer:
    """MoCo v2 is better on pixelwise tasks and SwAV on image-level ones, pairs of equal data compared."""
    frame = one_a_design(tables.get(SCORES, "category", "method", "dataset"))
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
    frame = one_a_design(self_supervised(tables.get(SCORES, "method", "dataset")))
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
    frame = one_a_design(self_supervised(tables.get(SCORES, "balance", "method", "dataset_size")))
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
    frame = one_a_design(tables.get(SCORES, "method", "dataset"))
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
