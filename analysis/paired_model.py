"""A ranking that tolerates missing cells: encoders as players, tasks as orders, ties counted as ties.

Bradley and Terry 1952 with Davidson's ties (1970), or Plackett and Luce's model of whole orders. Pitfalls: the size of differences is not
seen; cells that are missing because an encoder would be bad there flatter it; pairs of one task are no independent games, so that
intervals leave out tasks, or whole categories where these are declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, prepare, refuse_flat
from virb.scores.roles import roles
from virb.scores.weights import blocks_of
from virb.stats.pairs import MODELS, ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from virb.figures.tables import Table


def compute(
    scores: DataFrame, notes: Notes, *, model: str, tie: float, exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row an encoder, strongest first: theta with its interval over tasks, on how many tasks, whether the leader is told from it."""
    import numpy as np

    if tie < 0:
        raise UsageError(f"tie={tie:g}: expected a difference of 0 or more.")
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    wide = data.wide
    refuse_flat(wide)
    blocks, counted = blocks_of(data.categories[wide.columns])
    found = ranked(wide.to_numpy(float), blocks, model=model, tie=tie)
    if found.strengths.has_prior:
        notes.say(
            "some encoders never lose, or never win, against the others: half a win each way is added to every pair"
        )
    half = found.of_each.half()
    table = wide.notna().sum(axis=1).rename("n_tasks").rename_axis("encoder").reset_index()
    table["theta"] = found.strengths.theta
    table["low"], table["high"] = found.strengths.theta - half, found.strengths.theta + half
    lead = int(found.strengths.theta.argmax())
    table["leader_wins"] = [found.strengths.wins(lead, k) if k != lead else np.nan for k in range(len(table))]
    table["is_told_from_leader"] = found.is_told()
    table["role"] = table["encoder"].map(roles(data.frame))
    n_missing = int(wide.isna().to_numpy().sum())
    return Tables(
        {"": table.sort_values("theta", ascending=False, kind="stable")},
        model=model,
        ties=found.strengths.ties,
        log_likelihood=found.strengths.log_likelihood,
        tie=tie,
        n_missing=n_missing,
        n_cells=int(wide.size),
        counted=counted,
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    others = table.iloc[1:]
    near = list(others.loc[~others["is_told_from_leader"], "encoder"])
    with_ties = f", ties nu = {facts['ties']:.3f}" if facts["model"] == "davidson" and facts["ties"] > 0 else ""
    lines = [
        f"{table['encoder'].iloc[0]} is strongest ({facts['model']}{with_ties}; {len(table)} encoders, {facts['n_missing']} of {facts['n_cells']} "
        f"cells missing); another task puts it above {others['encoder'].iloc[0]} with P = {others['leader_wins'].iloc[0]:.2f}",
        f"told from {len(others) - len(near)} of {len(others)} others (95% for all pairs at once, over {facts['counted']}); not from "
        f"{names_in_words(near)}"
        if near
        else f"told from all {len(others)} others (95% for all pairs at once, over {facts['counted']})",
    ]
    few = table[table["n_tasks"] < table["n_tasks"].max()]
    if len(few):
        lines.append(
            f"on fewer tasks than the others: {names_in_words(list(few['encoder']))}; their place holds if what is missing is missing at random"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    """Strengths with intervals, the strongest first; open where the leader is not told from an encoder."""
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    chosen = plots.choose(table["encoder"], what="encoders")
    shown = table[table["encoder"].isin(set(chosen.names))]
    most = table["n_tasks"].max()
    shades = plots.role_colours(shown["role"])
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(chosen.n_rows))
        axes = fig.add_subplot()
        for k, row in zip(chosen.places, shown.itertuples(), strict=True):
            colour = shades[str(row.role)]
            axes.hlines(k, row.low, row.high, color=colour, linewidth=0.8)
            is_open = k > 0 and not row.is_told_from_leader
            axes.plot(
                row.theta,
                k,
                "o",
                color=colour,
                markerfacecolor="white" if is_open else colour,
                markersize=3.2,
                markeredgewidth=0.8,
            )
        labels = [
            f"{row.encoder} ({row.n_tasks} tasks)" if row.n_tasks < most else str(row.encoder)
            for row in shown.itertuples()
        ]
        chosen.label_rows(axes, labels)
        axes.grid(axis="x")
        axes.set_xlabel("strength (log odds)")
        note = f"{facts['model']}; {facts['n_missing']} of {facts['n_cells']} cells missing. Lines: 95% over {facts['counted']}. Open: the leader is not told from "
        note += f"it, all pairs at once. {chosen.note}{facts['note']}"
        plots.titles(
            fig,
            f"Strengths of {len(table)} encoders",
            note,
            handles=plots.colour_handles(shades) if len(shades) > 1 else [],
        )
    return {"": fig}


def typeset(tables: Tables) -> Table:
    from virb.figures.tables import Table

    table, facts = tables[""], tables.facts
    rows = [
        [row.encoder, str(row.n_tasks), f"{row.theta:.2f}", f"{row.low:.2f} to {row.high:.2f}"]
        for row in table.itertuples()
    ]
    return Table(
        ["encoder", "tasks", "strength", "95% interval"],
        rows,
        numbers=frozenset({1, 2, 3}),
        best=frozenset((k, 2) for k, is_told in enumerate(table["is_told_from_leader"]) if not is_told),
        caption=f"Log odds of the {facts['model']} model. Bold: {table['encoder'].iloc[0]}, and those that it is not told from (95% for "
        f"all pairs at once, over {facts['counted']}).",
    )


ANALYSIS = Analysis(
    name="paired-model",
    summary="A ranking that tolerates missing cells: Bradley-Terry with ties, or Plackett-Luce",
    source="Bradley and Terry 1952; Davidson 1970; Plackett 1975",
    compute=compute,
    draw=draw,
    say=say,
    typeset=typeset,
    min_encoders=3,
    min_tasks=2,
    options=(
        Option("model", "davidson", "Pairs with ties, or whole orders.", choices=MODELS),
        Option("tie", 0.0, "Difference of raw scores up to which two encoders tie on a task.", type=float),
        EXCLUDE,
        MISSING,
    ),
)
