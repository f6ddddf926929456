"""What pretraining on corrupted images costs, for each method against its own clean encoder.

Cole et al. 2022, Figure 4: clean accuracy less accuracy after pretraining on blurred, downsampled, JPEG or noisy
images. Each method has its own zero, so that methods are compared by what they lose. Needs the column corruption ("none" for clean).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Outputs, names_in_words
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import of_one_unit

if TYPE_CHECKING:
    from pandas import DataFrame

CLEAN = ("", "none", "clean")


def run(scores: DataFrame, out: Outputs, *, exclude: tuple[str, ...], missing: str) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    without = about.index[about["method"].isna()]
    if len(without):
        out.say(f"left out, the method being unknown: {names_in_words(list(without))}")
        about = about.drop(index=without)
    kind = as_words(about["corruption"], missing="none").str.strip()
    is_clean = kind.str.lower().isin(CLEAN)
    method = as_words(about["method"])
    rows = []
    for name, group in about.groupby(method, sort=False):
        clean = data.wide.loc[group.index[is_clean[group.index]]]
        if clean.empty:
            out.say(f"{name} has no clean encoder and is left out")
            continue
        for corruption, members in group[~is_clean[group.index]].groupby(kind[group.index], sort=False):
            for task in data.wide.columns:
                hurt = data.wide.loc[members.index, task].dropna()
                if hurt.empty or clean[task].isna().all():
                    continue
                rows.append(
                    (
                        name,
                        corruption,
                        task,
                        clean[task].mean(),
                        hurt.mean(),
                        clean[task].mean() - hurt.mean(),
                        len(hurt),
                    )
                )
    if not rows:
        raise NotApplicable("No method has both a clean and a corrupted encoder (column corruption).")
    table = pd.DataFrame(rows, columns=["method", "corruption", "task", "clean", "corrupted", "cost", "n_encoders"])
    out.table(table)
    one_unit = of_one_unit(data.frame, data.wide, out.lines)
    mean = (
        table[table["task"].isin(one_unit)]
        .groupby(["corruption", "method"], sort=False)["cost"]
        .agg(["mean", "std", "count"])
        .reset_index()
    )
    order = list(mean.groupby("corruption")["mean"].max().sort_values().index)
    methods = list(dict.fromkeys(mean["method"]))
    worst = mean.loc[mean["mean"].idxmax()]
    out.say(
        f"costliest: {worst['corruption']} for {worst['method']}, {worst['mean']:.3f} on average over "
        f"{len(one_unit)} tasks"
    )
    shades = plots.palette(methods)
    with plots.style():
        fig = plots.figure(plots.COLUMN, 0.42 + (0.1 + 0.12 * len(methods)) * max(len(order), 2))
        axes = fig.add_subplot()
        height = 0.8 / len(methods)
        for k, name in enumerate(methods):
            part = mean[mean["method"] == name].set_index("corruption").reindex(order)
            place = np.arange(len(order)) + (k - (len(methods) - 1) / 2) * height
            axes.barh(place, part["mean"], height=height * 0.9, color=shades[name], linewidth=0)
            half = 1.96 * part["std"] / np.sqrt(part["count"])
            axes.hlines(place, part["mean"] - half, part["mean"] + half, color=plots.BLACK, linewidth=0.7)
        axes.set_yticks(range(len(order)), order)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.axvline(0, color=plots.BLACK, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("score lost against the method's clean encoder")
        lines = " Lines: 95% over tasks." if len(one_unit) > 1 else ""
        note = f"Mean over {len(one_unit)} tasks.{lines} {data.note}"
        plots.titles(fig, "Cost of corrupted pretraining images", note, handles=plots.colour_handles(shades))
    out.figure(fig)


ANALYSIS = Analysis(
    name="corruption-deltas",
    summary="What pretraining on corrupted images costs each method",
    source="Cole et al. 2022, Figure 4",
    run=run,
    needs=("method", "corruption"),
    min_encoders=2,
    options=(EXCLUDE, MISSING),
)
