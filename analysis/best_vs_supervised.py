"""Best self-supervised encoder against the supervised one on every task, in percent of the supervised score.

Kotar et al. 2021, Figure 3 and Question 1: the best self-supervised encoder beats ImageNet supervision on all tasks but
three. Pitfall: the best of many is compared with one; the more encoders, the larger the lead by luck alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.scores.table import EXCLUDE, MISSING, REFERENCE, encoder_kind, encoder_table, prepare, reference_encoder
from virb.stats.effects import best_against

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame, out: Outputs, *, reference: str, colour: str, exclude: tuple[str, ...], missing: str
) -> None:
    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing)
    reference = reference_encoder(data.frame, reference)
    kinds = encoder_kind(data.frame)
    candidates = [name for name in data.wide.index if kinds[name] == "self-supervised" and name != reference]
    if not candidates:
        raise NotApplicable("There is no self-supervised encoder to compare with the reference.")
    table = best_against(data.wide, reference, candidates)
    table["category"] = table["task"].map(data.categories)
    about = encoder_table(data.frame)
    has_groups = colour in about
    table["group"] = table["best"].map(about[colour].fillna("unknown").astype(str)) if has_groups else ""
    out.table(table)
    behind = table[table["relative"] < 0]
    out.say(
        f"the best of {len(candidates)} self-supervised encoders leads {reference} on "
        f"{int((table['relative'] > 0).sum())} of "
        f"{len(table)} tasks" + (f"; it is behind on {', '.join(behind['task'])}" if 0 < len(behind) <= 6 else "")
    )
    with plots.style():
        shown = table.dropna(subset=["relative"])
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(shown)))
        axes = fig.add_subplot()
        shades = plots.palette(table["group"]) if has_groups else {"": plots.OKABE_ITO[0]}
        plots.bars(axes, list(shown["task"]), list(shown["relative"]), [shades[g] for g in shown["group"]])
        axes.set_xlabel(f"best self-supervised vs. {reference} (%)")
        handles = plots.colour_handles(shades, shown["group"]) if has_groups else []
        note = f"Best of n = {len(candidates)} encoders. {data.note}"
        plots.titles(
            fig, "Best self-supervised against supervised", note, handles=handles, legend_title=f"{colour} of the best:"
        )
    out.figure(fig)


ANALYSIS = Analysis(
    name="best-vs-supervised",
    summary="Best self-supervised encoder against the supervised one on every task",
    source="Kotar et al. 2021, Figure 3",
    run=run,
    min_encoders=2,
    options=(
        REFERENCE,
        Option("colour", "dataset", "Column of the best encoder that colours the bars."),
        EXCLUDE,
        MISSING,
    ),
)
