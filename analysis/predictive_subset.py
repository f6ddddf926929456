"""The smallest set of end tasks that predicts the whole battery, scored on encoders left out.

A battery of twenty tasks costs much; how few would rank encoders the same? In-sample R^2 answers too kindly: tasks are
chosen among many to fit few encoders, so the curve out of sample, with the choice repeated inside, is the one to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, Outputs
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.structure import predictive_subset

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, max_size: int, exclude: tuple[str, ...], missing: str) -> None:
    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing, is_varying=True)
    result = predictive_subset(data.wide, max_size=max_size)
    table = result.table
    out.table(table)
    enough = table[table["r2"] >= 0.9]
    n_tasks = data.wide.shape[1]
    if len(enough):
        found = enough.iloc[0]
        out.say(f"{found['tasks']} predict the mean of all {n_tasks} tasks with R2 = {found['r2']:.2f} out of sample")
    else:
        best = table["r2"].max()
        out.say(
            f"no set of up to {len(table)} tasks predicts the mean of all with R2 >= .9 out of sample (best {best:.2f})"
        )
    with plots.style():
        fig = plots.figure(plots.COLUMN, 1.9)
        axes = fig.add_subplot()
        axes.plot(table["size"], table["r2"], "-o", color=plots.OKABE_ITO[0])
        axes.plot(table["size"], table["r2_in_sample"], "--o", color=plots.GREY, markersize=2.5, linewidth=0.9)
        for row in table.itertuples():
            axes.text(row.size, 0.02, f"+ {row.added}", rotation=90, ha="center", va="bottom", fontsize=5.8, color=plots.GREY,
                      transform=axes.get_xaxis_transform())  # fmt: skip
        low = min(0.0, float(table["r2"].min()) - 0.05)
        axes.set_ylim(low, 1.03)
        axes.set_xlim(0.5, len(table) + 0.5)
        axes.set_xticks(list(table["size"]))
        axes.set_xlabel("end tasks in the set (the one added last is named)")
        axes.set_ylabel("R\u00b2 of the mean of all tasks")
        axes.grid(axis="y")
        handles = [
            plots.Patch(facecolor=plots.OKABE_ITO[0], label="encoders left out"),
            plots.Patch(facecolor=plots.GREY, label="in sample (too kind)"),
        ]
        note = f"n = {result.n} encoders, {data.wide.shape[1]} tasks; choice and fit repeated without each encoder. {data.note}"
        plots.titles(fig, "How few tasks predict the battery", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="predictive-subset",
    summary="The smallest set of end tasks that predicts the whole battery, out of sample",
    source="beyond the papers",
    run=run,
    min_encoders=6,
    min_tasks=4,
    options=(Option("max_size", 6, "Largest set tried.", type=int), EXCLUDE, MISSING),
)
