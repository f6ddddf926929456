"""Normalised scores by category and by group of encoders: (score - supervised) / sd of the task.

Kotar et al. 2021, Figures 6 and 16. Which encoders the sd is taken over, and with which ddof, changes every number: the
paper's code takes all runs, random and supervised ones included, with ddof 0. Both are options here, stated on the
figure, as is whatever single score is left out (the paper's code drops one by hand).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, OUTLIERS, prepare, without_outliers
from virb.scores.roles import REFERENCE, ROLES_OPTION, analysed, reference_encoder
from virb.scores.schema import as_words, encoder_table
from virb.stats.effects import normalised_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy import ndarray
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    reference: str,
    pool: str,
    ddof: int,
    by: str,
    roles: tuple[str, ...],
    outliers: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row an encoder and task."""
    import numpy as np
    import pandas as pd

    prepared = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False, is_varying=True)
    data = without_outliers(prepared, outliers, notes)
    reference = reference_encoder(data.frame, reference)
    shown = [name for name in analysed(data.frame, notes, asked=roles) if name != reference]
    chosen = shown if pool == "shown" else list(data.wide.index)
    if len(shown) < 1 or len(chosen) < 2:
        raise NotApplicable("It needs the reference and at least two other encoders.")
    spread = data.wide.loc[chosen].std(ddof=ddof)
    lost = [
        str(t)
        for t in data.wide
        if not (spread[t] > 1e-12 * data.wide[t].abs().max()) or pd.isna(data.wide[t][reference])
    ]
    if lost:
        notes.say(f"left out, {reference} having no score there or the scores no spread: {names_in_words(lost)}")
    if len(lost) == data.wide.shape[1]:
        raise NotApplicable(f"No task has a score of {reference} and a spread.")
    z = normalised_scores(data.wide.drop(columns=lost), reference, pool=chosen, ddof=ddof)
    kept = z.loc[shown]
    long = pd.DataFrame(
        {
            "encoder": np.tile(kept.index, kept.shape[1]),
            "task": np.repeat(kept.columns, len(kept)),
            "z": kept.to_numpy().T.ravel(),
        }
    ).dropna(subset=["z"])
    long["category"] = long["task"].map(data.categories)
    about = encoder_table(data.frame)
    long["group"] = long["encoder"].map(as_words(about[by])) if by in about else long["encoder"]
    of_pool = set(chosen)
    return Tables(
        {"": long.assign(is_in_pool=long["encoder"].isin(of_pool), reference=reference, pool=pool, ddof=ddof)},
        reference=reference,
        n_encoders=len(shown),
        how=f"0: {reference}; sd over {'all' if pool == 'all' else 'these'} encoders ({len(chosen)}), ddof {ddof}",
        by=by if by in about else "",
        has_categories=data.categories.nunique() > 1,
        note=data.note,
    )


def _groups(tables: Tables) -> dict[str, dict[str, ndarray]]:
    """z by category, where there are several, and by group of encoders, the best first."""
    parts = {}
    for part, key in (("category", "category"), ("encoder", "group")):
        if part == "category" and not tables.facts["has_categories"]:
            continue
        groups = {str(name): rows["z"].to_numpy() for name, rows in tables[""].groupby(key, sort=False)}
        if part == "encoder":
            groups = dict(sorted(groups.items(), key=lambda item: -float(item[1].mean())))
        parts[part] = groups
    return parts


def say(tables: Tables) -> list[str]:
    facts = tables.facts
    return [f"n = {facts['n_encoders']} encoders; {facts['how']}"] + [
        f"{name}: mean {values.mean():+.2f}, {(values > 0).mean():.0%} above {facts['reference']}"
        for groups in _groups(tables).values()
        for name, values in groups.items()
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    facts, figures = tables.facts, {}
    for part, groups in _groups(tables).items():
        ranked = sorted(groups, key=lambda name: -float(groups[name].mean()))
        chosen = plots.choose(ranked, most=36, what="encoders" if part == "encoder" else "groups", drawn_as=groups)
        groups = {name: groups[name] for name in chosen.names}
        shades = plots.category_colours(groups) if part == "category" else plots.palette(groups)
        if part == "encoder" and not facts["by"]:
            shades = dict.fromkeys(groups, plots.OKABE_ITO[0])
        with plots.style():
            fig = plots.figure(plots.width_for(chosen.names), 0.42 + 0.24 * max(len(groups), 2))
            axes = fig.add_subplot()
            violins(axes, groups, shades)
            axes.set_xlabel(f"score less {facts['reference']} (sd of the task)")
            what = "category of end task" if part == "category" else (facts["by"] or "encoder")
            note = f"n = {facts['n_encoders']} encoders. {facts['how']}. Line: mean. {chosen.note}{facts['note']}"
            plots.titles(fig, f"Normalised scores by {what}", note)
        figures[part] = fig
    return figures


def violins(axes: Axes, groups: dict[str, ndarray], colours: dict[str, str]) -> None:
    """Horizontal violins with their points and mean; with fewer than 5 points, the points alone."""
    import numpy as np
    import pandas as pd
    import seaborn

    from virb.figures import plots

    rng = np.random.default_rng(0)  # seaborn's own jitter is drawn from a generator that nobody seeds
    drawn = [name for name, values in groups.items() if len(values) >= 5 and np.ptp(values) > 0]
    if drawn:
        frame = pd.concat([pd.DataFrame({"group": name, "value": groups[name]}) for name in drawn])
        seaborn.violinplot(
            frame, x="value", y="group", hue="group", order=list(groups), hue_order=drawn, dodge=False, orient="h",
            palette={name: colours[name] for name in drawn}, saturation=1, alpha=0.35, linewidth=0.6, cut=0, width=0.8,
            density_norm="width", inner=None, legend=False, ax=axes,
        )  # fmt: skip
        axes.set_ylabel("")
    is_picture = sum(len(values) for values in groups.values()) > plots.MOST_MARKS
    for place, (name, values) in enumerate(groups.items()):
        jitter = rng.uniform(-0.13, 0.13, len(values))
        axes.scatter(
            values, place + jitter, s=2.5, color=colours[name], alpha=0.7, linewidth=0, zorder=3, rasterized=is_picture
        )
        axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=plots.BLACK, linewidth=1.0, zorder=4)
    axes.axvline(0, color=plots.BLACK, linewidth=0.6)
    size = 6.5 if len(groups) <= 12 else 5.5
    axes.set_yticks(range(len(groups)), list(groups), fontsize=size)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


ANALYSIS = Analysis(
    name="normalised-violins",
    summary="Normalised scores by category of end task and by group of encoders",
    source="Kotar et al. 2021, Figures 6 and 16",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
    options=(
        REFERENCE,
        Option("pool", "all", "Encoders that a task's sd is taken over.", choices=("all", "shown")),
        ROLES_OPTION,
        Option(
            "ddof", 0, "0 for the population sd, as in the paper's code; 1 for the sample sd.", type=int, choices=(0, 1)
        ),
        Option(
            "by", "method", "Column that groups encoders in the second figure; each encoder alone where it is absent."
        ),
        OUTLIERS,
        EXCLUDE,
        MISSING,
    ),
)
