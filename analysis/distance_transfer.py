"""Does pretraining data nearer to a task transfer better to it? Score against distance, effects of task and data taken out.

Hammoud et al. 2024, Table 3 (FID and VisualDNA). Distances come from a CSV with the columns dataset, task, distance
(and metric, where there are several). Pitfalls: a data set that is good for every task is no sign of distance, so that both
effects are taken out and whole tasks are permuted; with few tasks p cannot be small, and how small it could be is printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, complete_part, prepare
from virb.scores.read import read_csv
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.stats.dyads import affinity

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, distances: str, roles: tuple[str, ...], exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a metric of distance; ``pairs``: the data sets and tasks behind it."""
    import pandas as pd

    if not distances:
        raise NotApplicable("It needs distances between data: --option distances=FILE.csv (dataset, task, distance).")
    table = read_csv(Path(distances), needed=("dataset", "task", "distance"))
    table["distance"] = pd.to_numeric(table["distance"], errors="coerce")
    if table[["dataset", "task", "distance"]].isna().to_numpy().any():
        raise UsageError(f"{distances} needs complete columns dataset, task and distance, the last of numbers.")
    if "metric" not in table:
        table["metric"] = "distance"
    data = prepare(
        scores,
        notes,
        exclude=exclude,
        missing=missing,
        is_complete=False,
        pick=lambda f: analysed(f, notes, asked=roles),
    )
    groups = as_words(encoder_table(data.frame)["dataset"].dropna())
    mean = data.wide.loc[groups.index].groupby(groups).mean().stack().rename("score")
    mean.index = mean.index.set_names(["dataset", "task"])
    members = groups.groupby(groups).agg(lambda part: " + ".join(part.index))
    both = table.assign(dataset=as_words(table["dataset"]), task=as_words(table["task"])).merge(
        mean.reset_index(), on=["dataset", "task"]
    )
    if both.empty:
        raise NotApplicable("No row of the distances names a data set and a task of the scores.")
    both["is_used"] = False
    rows = []
    for metric, part in both.groupby("metric", sort=False):
        known = part.pivot_table(index="dataset", columns="task", values="distance", aggfunc="mean", sort=False)
        whole = complete_part(known)
        left = sorted({*known.index, *known.columns} - {*whole.index, *whole.columns})
        result = affinity(mean.unstack("task").loc[whole.index, whole.columns], whole)
        used = part["dataset"].isin(whole.index) & part["task"].isin(whole.columns)
        both.loc[part.index[used], "is_used"] = True
        if left:
            notes.say(f"{metric}: left out, a pair being missing: {names_in_words(left)}")
        at_home = int((whole == 0).to_numpy().sum())
        rows.append((
            metric, result.slope, result.r, result.pvalue, result.least_p, result.exact, result.n_sources,
            result.n_targets, at_home,
        ))  # fmt: skip
    columns = ["metric", "slope", "r", "p", "least_p", "is_exact", "n_datasets", "n_tasks", "n_at_distance_0"]
    return Tables(
        {"": pd.DataFrame(rows, columns=columns), "pairs": both.assign(encoders=both["dataset"].map(members))},
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    return [
        f"{row.metric}: slope {row.slope:+.4g} sd of the task a unit of distance, r {row.r:+.2f} with effects of data set "
        f"and task taken out, permutation p = {row.p:.3g} (whole tasks permuted; it cannot fall below "
        f"{row.least_p:.2g}; {row.n_datasets} data sets x {row.n_tasks} tasks)"
        + (
            f"; {row.n_at_distance_0} pairs at distance 0, pretraining on the task's own data, are among them"
            if row.n_at_distance_0
            else ""
        )
        for row in tables[""].itertuples()
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    fits, both = tables[""], tables["pairs"]
    shades = dict(zip(dict.fromkeys(both["task"]), [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 3, strict=False))
    with plots.style():
        columns = min(3, len(fits))
        n_rows = -(-len(fits) // columns)
        fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, 1.9 * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, fit in zip(grid.flat, fits.itertuples(), strict=False):
            part = both[(both["metric"] == fit.metric) & both["is_used"]]
            for task, own in part.groupby("task", sort=False):
                spread = own["score"].std(ddof=0) or 1.0
                x, y = own["distance"] - own["distance"].mean(), (own["score"] - own["score"].mean()) / spread
                axes.scatter(x, y, s=12, color=shades[task], linewidth=0)
            x = part["distance"] - part.groupby("task")["distance"].transform("mean")
            axes.plot([x.min(), x.max()], [fit.slope * x.min(), fit.slope * x.max()], color=plots.BLACK, linewidth=0.9)
            axes.set_title(f"{fit.metric}  (p = {fit.p:.2g})", fontsize=6.5)
            axes.set_xlabel("distance less the task's mean")
            axes.grid()
        for axes in list(grid.flat)[len(fits) :]:
            axes.remove()
        grid[0, 0].set_ylabel("score less the task's mean (sd)")
        note = f"{both['dataset'].nunique()} pretraining sets, {both['task'].nunique()} tasks; line and p: effects of data set and task taken out, whole tasks permuted (p cannot fall below {fits['least_p'].min():.2g}). {tables.facts['note']}"
        plots.titles(fig, "Distance and transfer", note, handles=plots.colour_handles(shades))
    return {"": fig}


ANALYSIS = Analysis(
    name="distance-transfer",
    summary="Does pretraining data nearer to a task transfer better to it?",
    source="Hammoud et al. 2024, Table 3",
    compute=compute,
    draw=draw,
    say=say,
    needs=("dataset",),
    min_encoders=2,
    options=(
        Option("distances", "", "CSV with the columns dataset, task, distance, and metric where there are several."),
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
