"""What pretraining on corrupted images costs, for each method against its own clean encoder.

Cole et al. 2022, Figure 4: clean accuracy less accuracy after pretraining on blurred, downsampled, JPEG or noisy
images. Each method has its own zero, so that methods are compared by what they lose. Needs the column corruption ("none" for clean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import on_one_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

CLEAN = ("", "none", "clean")


def compute(scores: DataFrame, notes: Notes, *, exclude: tuple[str, ...], missing: str) -> Tables:
    """What each corruption costs each method on each task; ``means``: over tasks on one scale."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    without = about.index[about["method"].isna()]
    if len(without):
        notes.say(f"left out, the method being unknown: {names_in_words(list(without))}")
        about = about.drop(index=without)
    kind = as_words(about["corruption"], missing="none").str.strip()
    is_clean = kind.str.lower().isin(CLEAN)
    method = as_words(about["method"])
    scaled, scale = on_one_scale(data.frame, data.wide)
    rows = []
    for name, group in about.groupby(method, sort=False):
        clean = group.index[is_clean[group.index]]
        if clean.empty:
            notes.say(f"{name} has no clean encoder and is left out")
            continue
        for corruption, members in group[~is_clean[group.index]].groupby(kind[group.index], sort=False):
            for task in data.wide.columns:
                hurt = data.wide.loc[members.index, task].dropna()
                before = data.wide.loc[clean, task]
                if hurt.empty or before.isna().all():
                    continue
                cost = scaled.loc[clean, task].mean() - scaled.loc[hurt.index, task].mean()
                rows.append(
                    (name, corruption, task, before.mean(), hurt.mean(), before.mean() - hurt.mean(), len(hurt), cost)
                )
    if not rows:
        raise NotApplicable("No method has both a clean and a corrupted encoder (column corruption).")
    columns = ["method", "corruption", "task", "clean", "corrupted", "cost", "n_encoders", "scaled_cost"]
    table = pd.DataFrame(rows, columns=columns)
    means = table.groupby(["corruption", "method"], sort=False)["scaled_cost"].agg(["mean", "std", "count"])
    means = means.reset_index().rename(columns={"std": "sd", "count": "n_tasks"})
    return Tables({"": table, "means": means}, scale=scale, note=data.note)


def say(tables: Tables) -> list[str]:
    means = tables["means"]
    worst = means.loc[means["mean"].idxmax()]
    return [
        f"costliest of {len(means)}: {worst['corruption']} for {worst['method']}, {worst['mean']:.3f} on average over "
        f"{worst['n_tasks']} tasks, {tables.facts['scale']} (the median of the {len(means)}: {means['mean'].median():.3f})"
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    means, facts = tables["means"], tables.facts
    ranked = means.groupby("method")["mean"].mean().sort_values(kind="stable").index
    kept = plots.choose(ranked, most=12, what="methods", drawn_as=dict.fromkeys(means["method"]))
    methods, means = kept.names, means[means["method"].astype(str).isin(set(kept.names))]
    chosen = plots.choose(
        means.groupby("corruption")["mean"].max().sort_values(kind="stable").index,
        most=max(6, 70 // len(methods)),
        what="corruptions",
    )
    order = chosen.names
    shades = plots.palette(methods)
    with plots.style():
        fig = plots.figure(plots.COLUMN, 0.42 + (0.1 + 0.12 * len(methods)) * max(len(order), 2))
        axes = fig.add_subplot()
        height = 0.8 / len(methods)
        for k, name in enumerate(methods):
            part = means[means["method"] == name].set_index("corruption").reindex(order)
            place = np.arange(len(order)) + (k - (len(methods) - 1) / 2) * height
            axes.barh(place, part["mean"], height=height * 0.9, color=shades[name], linewidth=0)
            half = 1.96 * part["sd"] / np.sqrt(part["n_tasks"])
            axes.hlines(place, part["mean"] - half, part["mean"] + half, color=plots.BLACK, linewidth=0.7)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.axvline(0, color=plots.BLACK, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("score lost against the method's clean encoder")
        n_tasks = int(means["n_tasks"].max())
        lines = " Lines: 95% over tasks, as a normal." if n_tasks > 1 else ""
        note = f"Mean over {n_tasks} tasks, {facts['scale']}.{lines} {chosen.note}{kept.note}{facts['note']}"
        plots.titles(fig, "Cost of corrupted pretraining images", note, handles=plots.colour_handles(shades))
    return {"": fig}


ANALYSIS = Analysis(
    name="corruption-deltas",
    summary="What pretraining on corrupted images costs each method",
    source="Cole et al. 2022, Figure 4",
    compute=compute,
    draw=draw,
    say=say,
    needs=("method", "corruption"),
    min_encoders=2,
    options=(EXCLUDE, MISSING),
)
