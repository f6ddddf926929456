"""Whether what Hammoud et al. 2024 say holds: functions of tables of images, budgets and tasks. Scores in percent."""

from __future__ import annotations

import numpy as np
import pandas as pd
from virb.analysis.papers.common import of_cells, of_units, told, wide

from virb.contracts.paper import FAILS, HOLDS, UNTOLD, Answer, Evidence, NotThere
from virb.errors import ScoresError
from virb.stats.claims import mean_interval, side, sign_p
from virb.stats.dyads import affinity

ROUND = 0.1  # a difference of two scores printed to one digit
FINE = 0.01  # to two
BUDGET = 0.02  # of C: budgets this near are one


def _percent(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores in percent, whatever the unit of a record."""
    if "unit" not in frame:
        return frame
    return frame.assign(score=np.where(frame["unit"].eq("fraction"), 100 * frame["score"], frame["score"]))


def _curves(tables: Evidence, name: str, by: list[str]) -> dict[tuple[object, ...], pd.Series]:
    """Scores over the number of images, at one budget: a curve for each value of ``by`` and each task.

    Where it is said which set a task is of, its curves are those of encoders of that set.
    """
    frame = _percent(tables.get(name, "dataset_size", "method"))
    if "home" in tables.facts:
        frame = frame[frame["dataset"].eq(frame["task"].map(tables.facts["home"]))]
    keys = [key for key in (*by, "task") if key in frame]
    out = {}
    for key, group in frame.groupby(keys, sort=False):
        curve = group.groupby(group["dataset_size"].astype(float))["score"].mean().sort_index()
        if len(curve) >= 2:
            out[key if isinstance(key, tuple) else (key,)] = curve
    if not out:
        raise NotThere(f"{name} has no two numbers of images of one method.")
    return out


def more_diversity_is_better(tables: Evidence) -> Answer:
    """At a fixed budget accuracy rises with the number of unique images, for every method and set (Table 1)."""
    curves = _curves(tables, "table1", ["dataset", "method"])
    steps = [float(s) for curve in curves.values() for s in np.diff(curve)]
    rising = sum(bool((np.diff(curve) > 0).all()) for curve in curves.values())
    found = of_cells(steps, FINE, "", "steps", "points")
    by_method = pd.Series({key: float(curve.iloc[-1] - curve.iloc[0]) for key, curve in curves.items()})
    by_method = by_method.groupby([key[-2] for key in by_method.index]).mean()
    mean, low, high = mean_interval(by_method)
    return Answer(
        found.verdict,
        f"{rising} of {len(curves)} curves rise at every step (smallest step {min(steps):+.2f} points). Curves of a method share its settings and "
        f"subsets are nested, so they are {len(by_method)} methods: all gain, p {sign_p(int((by_method > 0).sum()), len(by_method)):.3f}; from "
        "fewest to most images.",
        len(by_method), "methods", mean, low, high, "points", sign_p(int((by_method > 0).sum()), len(by_method)),
        "methods like these" if low > 0 else "these runs",
    )  # fmt: skip


def larger_scale_agrees(tables: Evidence) -> Answer:
    """With ImageNet to pretrain on and to score, accuracy rises with the number of images (Table 2)."""
    frame = _percent(tables.get("table2", "dataset_size", "method"))
    own, task = tables.fact("imagenet_set"), tables.fact("imagenet")
    frame = frame[frame["dataset"].eq(own) & frame["task"].eq(task)]
    curves = _curves(Evidence({"table2": frame}, tables.facts), "table2", ["method", "network"])
    steps = [float(s) for curve in curves.values() for s in np.diff(curve)]
    return of_cells(
        steps, ROUND, f"{len(curves)} curves, every step {min(steps):+.1f} points or more; two methods and two networks, a run each.",
        "steps", "points",
    )  # fmt: skip


def largest_is_best_at_every_budget(tables: Evidence) -> Answer:
    """At every budget the largest set is best (Supplementary Table 1)."""
    frame = _percent(tables.get("supp1", "dataset_size", "method", "images_seen"))
    gaps = []
    for _, group in frame.groupby(["method", "task", frame["images_seen"].astype(float).round(-5)]):
        curve = group.set_index(group["dataset_size"].astype(float))["score"].sort_index()
        if len(curve) >= 2:
            gaps.append(float(curve.iloc[-1] - curve.iloc[:-1].max()))
    if not gaps:
        raise NotThere("No two numbers of images at one budget.")
    return of_cells(
        gaps, FINE, f"The largest set leads at {sum(g > 0 for g in gaps)} of {len(gaps)} budgets, by {min(gaps):.2f} to {max(gaps):.2f} points; "
        f"{frame['method'].nunique()} methods on one set.", "budgets", "points",
    )  # fmt: skip


def shift_outweighs_diversity(tables: Evidence) -> Answer:
    """ImageNet beats the far larger YFCC at one budget on the majority of tasks (Table 2)."""
    gaps = _sets(tables)
    foreign = gaps.drop(columns=[tables.fact("imagenet")], errors="ignore")
    scaled = foreign / foreign.std(ddof=1)
    by_task = scaled.mean()
    wins = (foreign > 0).mean()
    mean, low, high = mean_interval(by_task)
    majority = int((wins > 0.5).sum())
    cells = int((foreign > 0).to_numpy().sum())
    return Answer(
        HOLDS if majority > len(wins) / 2 else FAILS,
        f"ImageNet's largest set less YFCC: above on {cells} of {foreign.size} cells without ImageNet itself, on most encoders for {majority} of "
        f"{len(wins)} tasks ({', '.join(f'{t} {v:+.1f}' for t, v in foreign.mean().items())} points). Over tasks {mean:.1f} sd ({low:.1f} to "
        f"{high:.1f}): of tasks like these {'it follows' if low > 0 else 'it cannot be told'}.",
        len(wins), "tasks", float(foreign.mean().mean()), *mean_interval(foreign.mean())[1:], "points",
    )  # fmt: skip


def _sets(tables: Evidence) -> pd.DataFrame:
    """Score of the largest set of ImageNet less that of the other set: an encoder (method and network) x task."""
    frame = _percent(tables.get("table2", "dataset_size", "method", "dataset"))
    own = tables.fact("imagenet_set")
    size = frame["dataset_size"].astype(float)
    keys = [key for key in ("method", "network") if key in frame]
    largest = size.eq(size.groupby([frame["dataset"], *(frame[k] for k in keys)]).transform("max"))
    frame = frame[largest]
    one = frame.assign(encoder=frame[keys].astype(str).agg(" ".join, axis=1))
    a, b = wide(one[one["dataset"].eq(own)]), wide(one[~one["dataset"].eq(own)])
    if a.empty or b.empty:
        raise NotThere(f"Encoders of {own} and of another set are needed.")
    gaps = (a - b.reindex(index=a.index, columns=a.columns)).dropna(how="all")
    if gaps.empty:
        raise NotThere("No method and network was pretrained on both sets.")
    return gaps


def yfcc_is_better_on_places(tables: Evidence) -> Answer:
    """On Places365 the encoder of YFCC is better (Table 2)."""
    gaps = _sets(tables)
    task = tables.fact("nearer_to_other")
    if task not in gaps:
        raise NotThere(f"There are no scores of {task}.")
    found = -gaps[task].dropna()
    up, tie = int((found > ROUND / 2).sum()), int((found.abs() <= ROUND / 2).sum())
    return of_units(
        found, f"YFCC less ImageNet: {', '.join(f'{name} {value:+.1f}' for name, value in found.items())} points: above on {up} of {len(found)}, "
        f"a tie on {tie}.", "encoders", "points",
    )  # fmt: skip


def nearer_sets_are_better(tables: Evidence) -> Answer:
    """The set nearer to a task (FID, VisualDNA) is the one that transfers better to it (Table 3 against Table 2)."""
    distance = tables.get("table3", "metric", "dataset")
    gaps = _sets(tables)
    own = tables.fact("imagenet_set")
    tasks = [task for task in gaps if task != tables.fact("imagenet")]
    agree, total, slopes, ps, least = 0, 0, [], [], 1.0
    for _, group in distance.groupby(["metric", "network"] if "network" in distance else ["metric"]):
        d = wide(group, "dataset")
        if own not in d.index or len(d) != 2:
            continue
        other = next(name for name in d.index if name != own)
        nearer = (d.loc[own, tasks] < d.loc[other, tasks]).to_numpy()
        better = (gaps[tasks].mean() > 0).to_numpy()
        agree, total = agree + int((nearer == better).sum()), total + len(tasks)
        scores = pd.DataFrame({own: gaps[tasks].mean(), other: 0.0}).T
        try:
            found = affinity(scores, d[tasks])
        except ScoresError:
            continue
        slopes.append(found.slope)
        ps.append(found.pvalue)
        least = found.least_p
    if not total:
        raise NotThere("Distances of two sets to the tasks are needed.")
    cells = ((gaps[tasks] > 0) == (gaps[tasks].mean() > 0)).to_numpy().mean()
    worst = max(ps) if ps else 1.0
    return Answer(
        HOLDS if agree == total and ps and worst <= 0.05 else FAILS if agree < total / 2 else UNTOLD,
        f"The nearer set is better on average on {agree} of {total} pairs of task and metric ({100 * cells:.0f} % of single encoders' cells agree), "
        f"but metrics agree with each other, and {len(tasks)} tasks decide: that the distance and not the set is what matters has p "
        f"{', '.join(f'{p:.2f}' for p in ps)} by metric (least possible {least:.3f}); two sets, of which one is better on all tasks but one.",
        len(tasks), "tasks", agree / total, unit="share that agrees", pvalue=worst, about="tasks like these",
    )  # fmt: skip


def unequal_budgets_mislead(tables: Evidence) -> Answer:
    """With three times the budget fewer images beat the best of the smaller budget (Table 4, Supplementary Table 3)."""
    frame = _percent(tables.get("table4", "dataset_size", "images_seen"))
    gaps = {}
    keys = [key for key in ("method", "network") if key in frame]
    for key, group in frame.groupby(keys, sort=False) if keys else ((("all",), frame),):
        c = group["images_seen"].astype(float)
        if c.max() / c.min() < 1.5:
            continue
        low, high = group[c < c.max() * (1 - BUDGET)], group[c >= c.max() * (1 - BUDGET)]
        n = low["dataset_size"].astype(float).max()
        fewer = high[high["dataset_size"].astype(float) < n * 0.99]
        if len(fewer):
            name = key if isinstance(key, str) else " ".join(str(k) for k in key)
            gaps[name] = float(fewer["score"].max() - low["score"].max())
    if not gaps:
        raise NotThere("Two budgets of one network are needed.")
    return of_cells(
        list(gaps.values()), ROUND,
        f"Fewer images at the larger budget less the best at the smaller: {', '.join(f'{k} {v:+.1f}' for k, v in gaps.items())} points. The red "
        "cells with as many images at three times the budget are no inconsistency. One method, one set.",
        "networks", "points", p=sign_p(sum(v > 0 for v in gaps.values()), len(gaps)),
    )  # fmt: skip


def small_sets_do_not_gain_from_compute(tables: Evidence) -> Answer:
    """On the smallest set three times the budget does not help (Table 4)."""
    frame = _percent(tables.get("table4", "dataset_size", "images_seen"))
    n = frame["dataset_size"].astype(float)
    frame = frame[n <= n.min() * 1.01]
    gaps = {}
    for key, group in frame.groupby([key for key in ("method", "network") if key in frame], sort=False):
        curve = group.set_index(group["images_seen"].astype(float))["score"].sort_index()
        if len(curve) >= 2:
            gaps[" ".join(str(k) for k in key)] = float(curve.iloc[-1] - curve.iloc[0])
    if not gaps:
        raise NotThere("The smallest set at two budgets is needed.")
    return of_units(
        list(gaps.values()), f"More budget on the smallest set: {', '.join(f'{k} {v:+.1f}' for k, v in gaps.items())} points; to help is called half "
        "a point.", "networks", "points", at=0.5, above=False,
    )  # fmt: skip


def few_labels_suffice(tables: Evidence) -> Answer:
    """ViT-B/16 of ImageNet with 5 % of the labels beats that of YFCC with all (Table 5)."""
    frame = _percent(tables.get("table5", "labels", "dataset"))
    own = tables.fact("imagenet_set")
    if "network" in frame and frame["network"].eq("ViT-B/16").any():
        frame = frame[frame["network"].eq("ViT-B/16")]
    least, most = frame["labels"].astype(float).min(), frame["labels"].astype(float).max()
    gaps = {}
    for method, group in frame.groupby("method", sort=False):
        labels = group["labels"].astype(float)
        a = group.loc[group["dataset"].eq(own) & labels.eq(least), "score"]
        b = group.loc[~group["dataset"].eq(own) & labels.eq(most), "score"]
        if len(a) and len(b):
            gaps[str(method)] = float(a.mean() - b.mean())
    if not gaps:
        raise NotThere("Encoders of two sets with few and with all labels are needed.")
    return of_cells(
        list(gaps.values()), ROUND, f"{', '.join(f'{k} {v:+.1f}' for k, v in gaps.items())} points. (Of ResNet-50s it does not hold, nor is it "
        "said.)", "methods", "points", p=sign_p(sum(v > 0 for v in gaps.values()), len(gaps)),
    )  # fmt: skip


def half_of_the_labels_suffice(tables: Evidence) -> Answer:
    """With in-domain pretraining half of the labels give nearly what all give (Table 5)."""
    frame = _percent(tables.get("table5", "labels", "dataset"))
    frame = frame[frame["dataset"].eq(tables.fact("imagenet_set"))]
    labels = frame["labels"].astype(float)
    keys = [key for key in ("method", "network") if key in frame]
    half, whole = (frame[labels.eq(value)].set_index(keys)["score"] for value in (50.0, 100.0))
    loss = (whole - half).dropna()
    if loss.empty:
        raise NotThere("Encoders with half and with all labels are needed.")
    return of_units(
        loss, f"All labels less half: {', '.join(f'{k if isinstance(k, str) else chr(32).join(k)} {v:.1f}' for k, v in loss.items())} points; nearly "
        "is called within 2.", "encoders", "points", at=2.0, above=False,
    )  # fmt: skip


def out_of_distribution_images_harm(tables: Evidence) -> Answer:
    """Adding images of other classes harms, adding images of the task's classes helps (Figure 3)."""
    frame = _percent(tables.get("figure3", "added"))
    base = frame.loc[frame["added"].eq("none")].set_index("method")["score"]
    gaps = []
    for kind in ("out", "in"):
        part = frame[frame["added"].astype(str).str.startswith(kind)]
        gaps.append((part.set_index("method")["score"] - base.reindex(part["method"]).to_numpy()).dropna())
    out, inside = gaps
    if out.empty:
        raise NotThere("No encoder with added images of other classes has one without beside it.")
    n = out.index.nunique()
    if n < 2 or inside.empty:
        return Answer(
            UNTOLD,
            f"Of Figure 3 the text prints SimCLR alone: {base.iloc[0]:.1f} % without, about {out.mean():+.0f} point with images of other classes; what "
            "images of the task's classes add is drawn and not printed.",
            n, "method", float(out.mean()), unit="points",
        )  # fmt: skip
    down, up = (series.groupby(level=0).mean() for series in (out, inside))
    sides = (-side(*mean_interval(down)[1:]), side(*mean_interval(up)[1:]))
    return Answer(
        HOLDS if sides == (1, 1) else FAILS if -1 in sides else UNTOLD,
        f"Other classes {down.mean():+.1f} points, the task's classes {up.mean():+.1f}.",
        n, "methods", *mean_interval(down), "points, other classes", about="methods like these",
    )  # fmt: skip


def yfcc_saturates(tables: Evidence) -> Answer:
    """More of YFCC's images do not help ImageNet's task: from 10 % to 100 % less than a point (Figure 4)."""
    frame = _percent(tables.get("figure4", "dataset_size"))
    gains = []
    for _, group in frame.groupby([key for key in ("method", "network") if key in frame]):
        curve = group.groupby(group["dataset_size"].astype(float))["score"].mean().sort_index()
        if len(curve) >= 3:
            gains.append(float(curve.iloc[-1] - curve.iloc[-2]))
    if not gains:
        raise NotThere("Three sizes of one set are needed.")
    mean, low, high = mean_interval(gains)
    return Answer(
        told(-side(low, high, 1.0)),
        f"Last step {mean:+.1f} points.",
        len(gains),
        "encoders",
        mean,
        low,
        high,
        "points",
        about="encoders like these",
    )
