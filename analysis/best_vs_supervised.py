"""Best self-supervised encoder against the supervised one on every task, in percent of the supervised score.

Kotar et al. 2021, Figure 3 and Question 1: the best self-supervised encoder beats ImageNet supervision on all tasks but
three. Pitfall: the best of many is compared with one; the more encoders, the larger the lead by luck alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import REFERENCE, analysed, reference_encoder
from virb.scores.schema import as_words, encoder_table
from virb.stats.effects import best_against

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, reference: str, colour: str, exclude: tuple[str, ...], missing: str
) -> Tables:
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    reference = reference_encoder(data.frame, reference)
    candidates = [name for name in analysed(data.frame, notes) if name != reference]
    if not candidates:
        raise NotApplicable("There is no encoder to compare with the reference.")
    tables = []
    for task in data.wide.columns:  # one by one: a score that is missing costs its own task alone
        known = data.wide[[task]].dropna()
        there = [name for name in candidates if name in known.index]
        if reference in known.index and there:
            tables.append(best_against(known, reference, there).assign(n_candidates=len(there)))
        else:
            notes.say(
                f"{task} is left out: {'the others have' if reference in known.index else f'{reference} has'} no score"
            )
    if not tables:
        raise NotApplicable(f"{reference} and the others have no task in common.")
    table = pd.concat(tables, ignore_index=True).sort_values(
        "relative", ascending=False, kind="stable", ignore_index=True
    )
    table["candidates"] = table["task"].map(lambda task: _names(data.wide.loc[candidates, task].dropna().index))
    table["category"] = table["task"].map(data.categories)
    about = encoder_table(data.frame)
    table["group"] = table["best"].map(as_words(about[colour])) if colour in about else ""
    return Tables(
        {"": table}, reference=reference, n_candidates=len(candidates), colour=colour if colour in about else "", note=data.note
    )  # fmt: skip


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    behind = table[table["relative"] < 0]
    # The best of k leads one more that is no better on k of k + 1 tasks.
    by_luck = float((table["n_candidates"] / (table["n_candidates"] + 1)).sum())
    return [
        f"the best of {facts['n_candidates']} encoders leads {facts['reference']} on "
        f"{int((table['relative'] > 0).sum())} of "
        f"{len(table)} tasks (were all equal, the best of so many would lead on {by_luck:.1f})"
        + (f"; it is behind on {', '.join(behind['task'])}" if 0 < len(behind) <= 6 else "")
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    with plots.style():
        shown = table.dropna(subset=["relative"])
        chosen = plots.choose(shown["task"], what="tasks")
        shown = shown[shown["task"].isin(set(chosen.names))]
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(chosen.n_rows))
        axes = fig.add_subplot()
        shades = plots.palette(table["group"]) if facts["colour"] else {"": plots.OKABE_ITO[0]}
        plots.bars(axes, list(shown["task"]), list(shown["relative"]), [shades[g] for g in shown["group"]], rows=chosen)
        axes.set_xlabel(f"best of the others vs. {facts['reference']} (%)")
        handles = plots.colour_handles(shades, shown["group"]) if facts["colour"] else []
        plots.titles(
            fig,
            f"Best encoder against {facts['reference']}",
            f"Best of n = {facts['n_candidates']} encoders. {chosen.note}{facts['note']}",
            handles=handles,
            legend_title=f"{facts['colour']} of the best:",
        )
    return {"": fig}


def _names(names: Iterable[object]) -> str:
    return " + ".join(map(str, names))


ANALYSIS = Analysis(
    name="best-vs-supervised",
    summary="Best self-supervised encoder against the supervised one on every task",
    source="Kotar et al. 2021, Figure 3",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        REFERENCE,
        Option("colour", "dataset", "Column of the best encoder that colours the bars."),
        EXCLUDE,
        MISSING,
    ),
)
