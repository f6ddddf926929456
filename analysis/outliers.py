"""Scores that cannot be right, before anything else is believed: repeats at chance where the task is learned, and the like.

A fit that failed leaves a number at chance, often the same in every repeat. `--without-outliers` leaves these scores out of
any other analysis. Pitfall: an encoder may truly know nothing of a task; what is named here is to be looked at, not to be dropped
unseen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import matrix
from virb.scores.outliers import outliers, outliers_in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes) -> Tables:
    """The rows that cannot be right, with why; ``moved``: each task's mean correlation with the others."""
    import pandas as pd

    found = outliers(scores)
    before, after = matrix(scores), matrix(scores.drop(index=found.index))

    def mean_r(wide: DataFrame) -> dict[str, float]:
        r = wide.corr(min_periods=4)
        return {str(task): float(r[task].drop(task).mean()) for task in r} if len(r) > 1 else {}

    moved = pd.DataFrame(
        {"mean_r": pd.Series(mean_r(before), dtype=float), "without": pd.Series(mean_r(after), dtype=float)}
    )
    columns = [name for name in ("encoder", "task", "seed", "score", "chance", "why") if name in found]
    unknown = (
        [str(task) for task, part in scores.groupby("task", sort=False) if part["chance"].isna().any()]
        if "chance" in scores
        else [str(task) for task in scores["task"].unique()]
    )
    tables = Tables({"": found[columns], "moved": moved.rename_axis("task").reset_index()})
    tables.facts = {"found": outliers_in_words(scores, found) if len(found) else "", "tasks_without_chance": unknown}
    return tables


def say(tables: Tables) -> list[str]:
    """What was found, and how far it moves the task that it moves most."""
    moved, unknown = tables["moved"], tables.facts["tasks_without_chance"]
    blind = (
        [f"chance is not declared (column chance) for {names_in_words(unknown)}: scores at chance are not found there"]
        if unknown
        else []
    )
    if tables[""].empty:
        return ["no score was found that cannot be right", *blind]
    lines = [f"cannot be right: {tables.facts['found']}"]
    change = (moved["without"] - moved["mean_r"]).abs()
    if change.notna().any():
        row = moved.loc[change.idxmax()]
        lines.append(
            f"without them the mean r of {row['task']} with the other tasks is {row['without']:.2f}, with them {row['mean_r']:.2f}; "
            "--without-outliers leaves them out of any analysis"
        )
    return [*lines, *blind]


def draw(tables: Tables) -> dict[str, Figure]:
    """The tasks that are moved: mean correlation with the others, with and without those scores."""
    from virb.figures import plots

    if tables[""].empty:
        return {}
    moved = tables["moved"]
    touched = moved[moved["task"].isin(set(tables[""]["task"]))].copy()
    touched = touched.loc[(touched["without"] - touched["mean_r"]).sort_values(ascending=False, kind="stable").index]
    chosen = plots.choose(touched["task"], what="tasks")
    touched = touched[touched["task"].isin(set(chosen.names))]
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(max(chosen.n_rows, 3)))
        axes = fig.add_subplot()
        for k, row in zip(chosen.places, touched.itertuples(), strict=True):
            axes.plot([row.mean_r, row.without], [k, k], "-", color=plots.LIGHT, linewidth=1.2, zorder=1)
        axes.scatter(touched["mean_r"], chosen.places, s=14, color=plots.GREY, linewidth=0, zorder=2)
        axes.scatter(touched["without"], chosen.places, s=14, color=plots.OKABE_ITO[0], linewidth=0, zorder=3)
        chosen.label_rows(axes)
        axes.set_xlabel("mean r with the other tasks")
        axes.grid(axis="x")
        handles = [
            plots.Patch(facecolor=plots.GREY, label="as given"),
            plots.Patch(facecolor=plots.OKABE_ITO[0], label="without them"),
        ]
        n_cells = tables[""].drop_duplicates(["encoder", "task"]).shape[0]
        note = f"{len(tables[''])} scores in {n_cells} cells; the table names each and says why. {chosen.note}"
        plots.titles(fig, "Scores that cannot be right", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="outliers",
    summary="Scores that cannot be right: repeats at chance where the task is learned",
    source="beyond the papers",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
)
