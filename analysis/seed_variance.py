"""How much a score moves when only the seed changes, and how that compares with encoders and tasks.

Kotar et al. 2021, Appendix G (three SwAV runs: mean relative difference below .85 %). Seeds of `virb evaluate` are
those of the head; pretraining again is another, larger layer of noise, which only encoders of several pretraining seeds
show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Outputs
from virb.errors import ScoresError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.effects import seed_variation
from virb.stats.variance import variance_shares

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, exclude: tuple[str, ...], missing: str) -> None:
    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    try:
        table = seed_variation(data.frame)
    except ScoresError as error:
        raise NotApplicable(str(error)) from None
    table["category"] = table["task"].map(data.categories)
    out.table(table)
    overall = table["relative"].mean()
    out.say(
        f"mean relative difference between seeds {overall:.2f} % (the paper: below .85 %); sd "
        f"{table['sd'].mean():.4f} on average, "
        f"{table['sd'].max():.4f} at most ({table.loc[table['sd'].idxmax(), 'encoder']} on "
        f"{table.loc[table['sd'].idxmax(), 'task']})"
    )
    try:
        shares = variance_shares(data.frame)
        out.table(shares, "shares")
        out.say("variance: " + ", ".join(f"{row.component} {row.share:.1%}" for row in shares.itertuples()))
    except ScoresError as error:
        out.say(f"no variance shares: {error}")
    mean = table.groupby("task", sort=False)["relative"].agg(["mean", "max"]).reindex(list(data.wide.columns)).dropna()
    with plots.style():
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(mean)))
        axes = fig.add_subplot()
        plots.bars(axes, list(mean.index), list(mean["mean"]), plots.task_colours(data.categories, mean.index))
        axes.plot(mean["max"], range(len(mean)), linestyle="", marker="|", color=plots.BLACK, markersize=4)
        axes.axvline(0.85, color=plots.GREY, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xlabel("mean |score \u2212 mean over seeds| (% of the mean)")
        handles = plots.category_handles(data.categories)
        n = f"{int(table['n_seeds'].min())} seeds or more, n = {table['encoder'].nunique()} encoders"
        note = f"{n}. Bars: mean; ticks: largest; dashes: the paper's .85%. {data.note}"
        plots.titles(fig, "Variation between seeds", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="seed-variance",
    summary="How much a score moves when only the seed changes",
    source="Kotar et al. 2021, Appendix G",
    run=run,
    needs=("seed",),
    options=(EXCLUDE, MISSING),
)
