"""The smallest set of end tasks that tells the others, scored on encoders left out.

A battery of twenty tasks costs much; how few would rank encoders the same? A set is judged by the tasks outside it, on
encoders (or whole families of them) that neither chose nor fitted it, and beside random sets of its size: where all tasks
agree, any few will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.families import FAMILY, declared_families
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.subset import MIN_ENCODERS, predictive_subset

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, max_size: int, family: str, exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a size of the set."""
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    families = declared_families(data.frame, data.wide.index, notes, column=family)
    result = predictive_subset(data.wide, max_size=max_size, clusters=families.labels)
    tables = Tables(
        {"": result.table},
        n_encoders=result.n,
        n_tasks=data.wide.shape[1],
        left_out=f"each of {families.n} families" if families.labels is not None else "each encoder",
        warning=families.warning,
        note=data.note,
    )
    if families.members is not None:
        tables["families"] = families.members
    return tables


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    # One size is spoken of: the first that ranks encoders nearly as the others do, else the best.
    enough = table[table["spearman"] >= 0.9]
    row = (enough if len(enough) else table.sort_values("spearman", ascending=False, kind="stable")).iloc[0]
    size = int(row["size"])
    # The size was chosen by what is compared: no test is made of it (alike tasks would pass one in six times at .05).
    chosen = "the smallest with rho >= .9 of" if len(enough) else "the best of"
    return [
        f"{row['tasks']}{'' if len(enough) else ' (the best found)'}: the order of encoders by the "
        f"{facts['n_tasks'] - size} "
        f"other tasks is told with rho = {row['spearman']:.2f} (R2 = {row['r2']:.2f}) out of sample, {facts['left_out']} left out; "
        f"{row['random_as_good']:.0%} of random sets of {size} do as well (rho {row['random_low']:.2f} to {row['random_high']:.2f}); {size} is "
        f"{chosen} {len(table)} sizes tried" + (f"; {facts['warning']}" if facts["warning"] else "")
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    with plots.style():
        fig = plots.figure(plots.COLUMN, 1.9)
        axes = fig.add_subplot()
        axes.fill_between(table["size"], table["random_low"], table["random_high"], color=plots.LIGHT, linewidth=0)
        axes.plot(table["size"], table["random_median"], "-", color=plots.GREY, linewidth=0.8)
        axes.plot(table["size"], table["spearman"], "-o", color=plots.OKABE_ITO[0])
        for row in table.itertuples():
            axes.text(row.size, 0.02, f"+ {plots.shortened(row.added, 5.8, 0.9)}", rotation=90, ha="center", va="bottom", fontsize=5.8, color=plots.GREY,
                      transform=axes.get_xaxis_transform())  # fmt: skip
        low = min(0.0, float(table[["spearman", "random_low"]].min().min()) - 0.05)
        axes.set_ylim(low, 1.03)
        axes.set_xlim(0.5, len(table) + 0.5)
        axes.set_xticks(list(table["size"]))
        axes.set_xlabel("end tasks in the set (the one added last is named)")
        axes.set_ylabel("rank agreement (\u03c1)")
        axes.grid(axis="y")
        handles = [
            plots.Patch(facecolor=plots.OKABE_ITO[0], label="chosen sets"),
            plots.Patch(facecolor=plots.LIGHT, label="random sets, 5 to 95%"),
        ]
        note = f"n = {facts['n_encoders']} encoders, {facts['n_tasks']} tasks; choice and fit repeated without {facts['left_out']}, judged on it and on the tasks outside the set. {facts['warning'] + '. ' if facts['warning'] else ''}{facts['note']}"
        plots.titles(fig, "How few tasks tell the others", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="predictive-subset",
    summary="The smallest set of end tasks that tells the order by the others, out of sample",
    source="beyond the papers",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=MIN_ENCODERS,
    min_tasks=4,
    options=(Option("max_size", 6, "Largest set tried.", type=int), FAMILY, EXCLUDE, MISSING),
)
