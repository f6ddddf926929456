"""How much a score moves when only the seed changes, and how that compares with encoders and tasks.

Kotar et al. 2021, Appendix G (three SwAV runs: mean relative difference below .85 %). Seeds of `virb evaluate` are
those of the head; pretraining again is another, larger layer of noise, which only encoders of several pretraining seeds
show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virb.contracts.analysis import Analysis, NotApplicable, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
from virb.scores.layout import EXCLUDE, MISSING, Prepared, complete_part, prepare
from virb.scores.units import difference_scale, on_one_scale
from virb.stats.effects import seed_variation
from virb.stats.noise import variance_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes, *, exclude: tuple[str, ...], missing: str) -> Tables:
    """A row an encoder and task with several seeds; ``shares``: of the variance, on one scale."""
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    try:
        table = seed_variation(data.frame)
    except ScoresError as error:
        raise NotApplicable(str(error)) from None
    table["category"] = table["task"].map(data.categories)
    # Seeds lie nearer to the mean of few of them: what 3 seeds, as in the paper, would be expected to show.
    table["relative_of_3"] = table["relative"] * np.sqrt((2 / 3) / ((table["n_seeds"] - 1) / table["n_seeds"]))
    factor, scale = difference_scale(data.frame, data.wide)
    table["to_one_scale"] = table["task"].map(factor)
    tables = Tables({"": table}, n_cells=int(data.wide.notna().to_numpy().sum()), scale=scale, note=data.note)
    try:
        tables["shares"] = _shares(data, notes)
    except ScoresError as error:
        notes.say(f"no variance shares: {error}")
    return tables


def _shares(data: Prepared, notes: Notes) -> DataFrame:
    """Variance components of the largest part whose cells have equally many seeds, on one scale."""
    counts = data.frame.groupby(["encoder", "task"])["score"].count()
    usual = int(counts[counts > 1].mode().iloc[0])
    kept = data.frame[data.frame.set_index(["encoder", "task"]).index.isin(counts.index[counts >= usual])]
    wide = kept.pivot_table(index="encoder", columns="task", values="score", sort=False)
    whole = complete_part(wide)
    gone = [*wide.index.difference(whole.index), *wide.columns.difference(whole.columns)]
    lost = data.frame[["encoder", "task"]].drop_duplicates().shape[0] - whole.size
    if lost:
        notes.say(
            f"variance shares are of the {whole.size} cells of a complete part with {usual} seeds each; {lost} cells are left out"
            + (f" ({names_in_words([str(name) for name in gone])})" if gone else "")
        )
    part = kept[kept["encoder"].isin(whole.index) & kept["task"].isin(whole.columns)]
    part = part.groupby(["encoder", "task"], sort=False).head(usual).copy()
    scaled, _ = on_one_scale(part, whole)
    factor, _ = difference_scale(part, whole)
    means = part.groupby(["encoder", "task"])["score"].transform("mean")
    level = np.array([scaled.loc[row.encoder, row.task] for row in part.itertuples()])
    part["score"] = level + (part["score"] - means) * part["task"].map(factor)
    return variance_shares(part)


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    sd = table["sd"] * table["to_one_scale"]
    most = table.loc[sd.idxmax()]
    lines = [
        f"{_seeds(tables)}: mean relative difference between seeds {table['relative_of_3'].mean():.2f} % as of 3 seeds (the paper, of "
        f"3: below .85 %); sd {sd.mean():.4f} on average, {sd.max():.4f} at most ({most['encoder']} on {most['task']}), {facts['scale']}"
    ]
    if "shares" in tables:
        shares = ", ".join(f"{row.component} {row.share:.1%}" for row in tables["shares"].itertuples())
        lines.append(f"variance, {facts['scale']}: {shares}")
    return lines


def _seeds(tables: Tables) -> str:
    table = tables[""]
    low, high = int(table["n_seeds"].min()), int(table["n_seeds"].max())
    rest = tables.facts["n_cells"] - len(table)
    return (
        f"{low if low == high else f'{low} to {high}'} seeds in {len(table)} cells"
        + f" of {table['encoder'].nunique()} encoders"
        + (f", 1 in {rest}" if rest else "")
    )


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table = tables[""]
    category = table.drop_duplicates("task").set_index("task")["category"]
    mean = table.groupby("task", sort=False)["relative_of_3"].agg(["mean", "max"]).dropna()
    chosen = plots.choose(
        mean.sort_values("mean", ascending=False, kind="stable").index, what="tasks", drawn_as=mean.index
    )
    mean = mean.loc[chosen.names]
    order = {name: k for k, name in enumerate(dict.fromkeys(category))}
    mean = mean.iloc[np.argsort([order[category[task]] for task in mean.index], kind="stable")]
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(len(mean)))
        axes = fig.add_subplot()
        plots.bars(axes, list(mean.index), list(mean["mean"]), plots.task_colours(category, mean.index))
        axes.plot(mean["max"], range(len(mean)), linestyle="", marker="|", color=plots.BLACK, markersize=4)
        # One cell that cannot be right must not flatten all others: the axis ends before it, and its number is written.
        usual = mean["max"][mean["max"] <= 6 * max(float(mean["max"].median()), 0.85)]
        end = 1.1 * max(float(usual.max()), 0.9) if len(usual) else 1.0
        beyond = mean["max"] > end
        if beyond.any():
            axes.set_xlim(0, end)
            for k, value in zip(np.flatnonzero(beyond), mean["max"][beyond], strict=True):
                axes.text(0.99 * end, k, f"{value:.3g} ▸", ha="right", va="center", fontsize=5.8)
        axes.axvline(0.85, color=plots.GREY, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_xlabel("mean |score \u2212 mean over 3 seeds| (% of the mean)")
        note = f"{_seeds(tables)}. Bars: mean; ticks: largest; dashes: the paper's .85%, of 3 seeds. {chosen.note}{tables.facts['note']}"
        plots.titles(fig, "Variation between seeds", note, handles=plots.category_handles(category.loc[mean.index]))
    return {"": fig}


ANALYSIS = Analysis(
    name="seed-variance",
    summary="How much a score moves when only the seed changes",
    source="Kotar et al. 2021, Appendix G",
    compute=compute,
    draw=draw,
    say=say,
    needs=("seed",),
    options=(EXCLUDE, MISSING),
)
