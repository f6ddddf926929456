"""Encoders sorted on the tasks that have pretraining data of their own: is the in-domain encoder the best?

Kotar et al. 2021, Figure 7: on all four matched pairs the best encoder is in-domain, and beats the one pretrained on
the combination of all data sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, match_tasks, prepare
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    match: tuple[str, ...],
    combination: str,
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Encoders by score on each matched task, the best first."""
    import pandas as pd

    data = prepare(
        scores,
        notes,
        exclude=exclude,
        missing=missing,
        is_complete=False,
        pick=lambda f: analysed(f, notes, asked=roles),
    )
    datasets = as_words(encoder_table(data.frame)["dataset"].dropna())
    home = match_tasks(data.wide.columns, set(datasets), match)
    if not home:
        raise NotApplicable(
            "No end task is named after a pretraining data set. Name the pairs: --option "
            "match=task:dataset,task:dataset."
        )
    rows = []
    for task, own in home.items():
        order = data.wide.loc[datasets.index, task].dropna().sort_values(ascending=False, kind="stable")
        for place, (name, score) in enumerate(order.items(), 1):
            kind = (
                "in-domain"
                if datasets[name] == own
                else "combination"
                if datasets[name].lower() == combination.lower()
                else "other"
            )
            rows.append((task, place, name, datasets[name], score, kind))
    table = pd.DataFrame(rows, columns=["task", "place", "encoder", "dataset", "score", "kind"])
    if table.empty:
        raise NotApplicable("No encoder whose data are known has a score on a matched task.")
    home = {task: own for task, own in home.items() if task in set(table["task"])}
    return Tables({"": table}, home=home, n_encoders=len(datasets), note=data.note)


def say(tables: Tables) -> list[str]:
    table = tables[""]
    best = table[table["place"] == 1]
    by_luck = float((table["kind"] == "in-domain").groupby(table["task"]).mean().sum())
    lines = [
        f"the best encoder is in-domain on {int((best['kind'] == 'in-domain').sum())} of {len(best)} matched tasks (were all "
        f"equal, on {by_luck:.1f})"
    ]
    mixed = table[table["kind"] == "combination"].groupby("task")["score"].max()
    own_best = table[table["kind"] == "in-domain"].groupby("task")["score"].max().reindex(mixed.index)
    if len(mixed):
        # The best of a against the best of b: a / (a + b) by luck.
        counts = (
            table[table["task"].isin(own_best.dropna().index)]
            .groupby("task")["kind"]
            .value_counts()
            .unstack(fill_value=0)
        )
        luck = (
            float((counts["in-domain"] / (counts["in-domain"] + counts["combination"])).sum()) if len(counts) else 0.0
        )
        lines.append(
            f"the best in-domain encoder beats the combination on {int((own_best > mixed).sum())} of {len(mixed)} (were all "
            f"equal, on {luck:.1f})"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table, home, n = tables[""], tables.facts["home"], tables.facts["n_encoders"]
    shades = {"in-domain": plots.OKABE_ITO[5], "combination": plots.OKABE_ITO[0], "other": plots.LIGHT}
    with plots.style():
        drawn = plots.choose(home, most=12, what="tasks")
        columns = min(2, len(drawn.names))
        n_rows = -(-len(drawn.names) // columns)
        most = max(6, 60 // n_rows)
        fig = plots.figure(
            plots.COLUMN if columns == 1 else plots.PAGE, n_rows * (plots.bars_height(min(n, most + 2)) + 0.1)
        )
        grid = fig.subplots(n_rows, columns, squeeze=False)
        more = drawn.note
        for axes, task in zip(grid.flat, drawn.names, strict=False):
            part = table[table["task"] == task]
            own = part.loc[part["kind"] == "in-domain", "encoder"]
            chosen = plots.choose(part["encoder"], most=most, named=own.head(3), what="encoders")
            part = part[part["encoder"].isin(set(chosen.names))]
            more = more or chosen.note
            plots.bars(
                axes,
                list(part["encoder"]),
                list(part["score"]),
                [shades[k] for k in part["kind"]],
                size=5.5 if len(part) > 12 else 6.5,
                rows=chosen,
            )
            low, high = part["score"].min(), part["score"].max()
            pad = (high - low) * 0.15 or abs(high) * 0.1 or 1.0
            # The bars begin just below the worst: the axis says so by not starting at 0.
            axes.set_xlim(low - pad, high + pad / 3)
            axes.set_title(f"{task} \u2013 {home[task]}")
        for axes in list(grid.flat)[len(drawn.names) :]:
            axes.remove()
        note = f"n = {n} encoders, best first; axes do not start at 0. {more}{tables.facts['note']}"
        plots.titles(fig, "Matched pretraining and end task", note, handles=plots.colour_handles(shades, table["kind"]))
    return {"": fig}


ANALYSIS = Analysis(
    name="matched-pairs",
    summary="Encoders sorted on the tasks that have pretraining data of their own",
    source="Kotar et al. 2021, Figure 7",
    compute=compute,
    draw=draw,
    say=say,
    needs=("dataset",),
    min_encoders=2,
    options=(
        Option("match", (), "Pairs task:dataset, with commas between; by name if not given.", type=comma_list),
        Option("combination", "combination", "Name of the data set that combines all others."),
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
