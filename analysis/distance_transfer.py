"""Does pretraining data nearer to a task transfer better to it? Score against distance, effects of task and data taken out.

Hammoud et al. 2024, Table 3 (FID and VisualDNA). Distances come from a CSV with the columns dataset, task, distance
(and metric, where there are several). Pitfalls: a data set that is good for every task is no sign of distance, so that both
effects are taken out and whole tasks are permuted; with few tasks p cannot be small, and how small it could be is printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, names_in_words
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, complete_part, prepare
from virb.scores.read import read_csv
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.stats.dyads import affinity

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame, out: Outputs, *, distances: str, roles: tuple[str, ...], exclude: tuple[str, ...], missing: str
) -> None:
    import pandas as pd

    from virb.figures import plots

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
        out.lines,
        exclude=exclude,
        missing=missing,
        is_complete=False,
        pick=lambda f: analysed(f, out.lines, asked=roles),
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
    rows, panels = [], list(both.groupby("metric", sort=False))
    for k, (metric, part) in enumerate(panels):
        known = part.pivot_table(index="dataset", columns="task", values="distance", aggfunc="mean", sort=False)
        whole = complete_part(known)
        left = sorted({*known.index, *known.columns} - {*whole.index, *whole.columns})
        result = affinity(mean.unstack("task").loc[whole.index, whole.columns], whole)
        used = part["dataset"].isin(whole.index) & part["task"].isin(whole.columns)
        panels[k] = (metric, part[used])
        rows.append(
            (
                metric,
                result.slope,
                result.r,
                result.pvalue,
                result.least_p,
                result.exact,
                result.n_sources,
                result.n_targets,
            )
        )
        at_home = int((whole == 0).to_numpy().sum())
        out.say(
            f"{metric}: slope {result.slope:+.4g} sd of the task a unit of distance, r {result.r:+.2f} with effects of data set "
            f"and task taken out, permutation p = {result.pvalue:.3g} (whole tasks permuted; it cannot fall below "
            f"{result.least_p:.2g}; {result.n_sources} data sets x {result.n_targets} tasks)"
            + (
                f"; {at_home} pairs at distance 0, pretraining on the task's own data, are among them"
                if at_home
                else ""
            )
            + (f"; left out, a pair being missing: {names_in_words(left)}" if left else "")
        )
    fits = pd.DataFrame(rows, columns=["metric", "slope", "r", "p", "least_p", "is_exact", "n_datasets", "n_tasks"])
    out.table(fits)
    out.table(both.assign(encoders=both["dataset"].map(members)), "pairs")
    shades = dict(zip(dict.fromkeys(both["task"]), [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 3, strict=False))
    with plots.style():
        columns = min(3, len(panels))
        n_rows = -(-len(panels) // columns)
        fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, 1.9 * n_rows)
        grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, (metric, part), fit in zip(grid.flat, panels, fits.itertuples(), strict=False):
            for task, own in part.groupby("task", sort=False):
                spread = own["score"].std(ddof=0) or 1.0
                x, y = own["distance"] - own["distance"].mean(), (own["score"] - own["score"].mean()) / spread
                axes.scatter(x, y, s=12, color=shades[task], linewidth=0)
            x = part["distance"] - part.groupby("task")["distance"].transform("mean")
            axes.plot([x.min(), x.max()], [fit.slope * x.min(), fit.slope * x.max()], color=plots.BLACK, linewidth=0.9)
            axes.set_title(f"{metric}  (p = {fit.p:.2g})", fontsize=6.5)
            axes.set_xlabel("distance less the task's mean")
            axes.grid()
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
        grid[0, 0].set_ylabel("score less the task's mean (sd)")
        note = f"{both['dataset'].nunique()} pretraining sets, {both['task'].nunique()} tasks; line and p: effects of data set and task taken out, whole tasks permuted (p cannot fall below {fits['least_p'].min():.2g}). {data.note}"
        plots.titles(fig, "Distance and transfer", note, handles=plots.colour_handles(shades))
    out.figure(fig)


ANALYSIS = Analysis(
    name="distance-transfer",
    summary="Does pretraining data nearer to a task transfer better to it?",
    source="Hammoud et al. 2024, Table 3",
    run=run,
    needs=("dataset",),
    min_encoders=2,
    options=(
        Option("distances", "", "CSV with the columns dataset, task, distance, and metric where there are several."),
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
