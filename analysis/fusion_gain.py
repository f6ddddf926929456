"""What concatenating the features of several encoders adds over the better of them.

Cole et al. 2022, Table 3. The paper quotes the gain over one parent; the gain over the better parent is what fusing is
worth and is far smaller. Encoders made of others say so in the column parts: "a+b".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.stats.effects import fusion_gains

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes, *, exclude: tuple[str, ...], missing: str) -> Tables:
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    said = as_words(encoder_table(data.frame)["parts"].dropna())
    parts = {str(name): [p.strip() for p in text.split("+")] for name, text in said.items() if "+" in text}
    if not parts:
        raise NotApplicable("No encoder's column parts names two encoders ('a+b').")
    table = _gains(data.wide, parts, notes)
    table["category"] = table["task"].map(data.categories)
    return Tables({"": table}, note=data.note)


def say(tables: Tables) -> list[str]:
    table = tables[""]
    return [
        f"fusing beats the better part in {int((table['gain'] > 0).sum())} of {len(table)} cases (were all equal, in "
        f"{(1 / (table['n_parts'] + 1)).sum():.1f}), by "
        f"{table['gain'].max():.3f} at "
        f"most (over the worse part: {table['gain_over_worst'].max():.3f})"
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table = tables[""]
    shades = plots.palette(table["task"])
    table = table.assign(row=[str(k) for k in range(len(table))])
    order = table.sort_values("gain", ascending=False, kind="stable")["row"]
    chosen = plots.choose(order, what="cases", drawn_as=table["row"])
    table = table[table["row"].isin(set(chosen.names))]
    with plots.style():
        fig = plots.figure(plots.PAGE, plots.bars_height(len(table)))
        axes = fig.add_subplot()
        labels = [f"{row.fused}: {row.task}" for row in table.itertuples()]
        plots.bars(axes, labels, list(table["gain"]), [shades[t] for t in table["task"]])
        axes.plot(table["gain_over_worst"], range(len(table)), "|", color=plots.BLACK, markersize=6)
        axes.set_xlabel("gain over the better part (score)")
        plots.titles(
            fig,
            "Gain from concatenated features",
            f"Ticks: gain over the worse part. {chosen.note}{tables.facts['note']}",
            handles=plots.colour_handles(shades),
        )
    return {"": fig}


def _gains(wide: DataFrame, parts: dict[str, list[str]], notes: Notes) -> DataFrame:
    """Gains of every fused encoder on the tasks that it and its parts have scores on."""
    import pandas as pd

    tables = []
    for fused, members in parts.items():
        if fused in members or len(set(members)) < len(members):
            notes.say(f"{fused} is left out: its parts ({' + '.join(members)}) are not other encoders, each once")
            continue
        absent = [name for name in members if name not in wide.index]
        if absent:
            notes.say(f"{fused} is left out: there are no scores of {names_in_words(absent)}, which it is made of")
            continue
        known = wide.loc[[fused, *members]].dropna(axis=1)
        if known.shape[1] < wide.shape[1]:
            notes.say(f"{fused}: {wide.shape[1] - known.shape[1]} tasks are left out, where it or a part has no score")
        if known.shape[1]:
            tables.append(fusion_gains(known, {fused: members}).assign(n_parts=len(members)))
    if not tables:
        raise NotApplicable("No encoder made of others has scores beside those of its parts.")
    return pd.concat(tables, ignore_index=True)


ANALYSIS = Analysis(
    name="fusion-gain",
    summary="What concatenating the features of several encoders adds",
    source="Cole et al. 2022, Table 3",
    compute=compute,
    draw=draw,
    say=say,
    needs=("parts",),
    min_encoders=3,
    options=(EXCLUDE, MISSING),
)
