"""Ranking of encoders over tasks with Friedman's test and a critical-difference diagram.

Demšar 2006. Encoders joined by a bar cannot be told apart by Nemenyi's test. Pitfalls: Nemenyi's test and the intervals
count tasks as independent and alike; Friedman's p shuffles whole categories where there are some. Nemenyi's differences
depend on how many encoders are compared: pairs of interest are better read from the Holm-adjusted Wilcoxon table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.scores.units import on_one_scale
from virb.stats.ranking import cliques, critical_difference, holm_wilcoxon, leader_against_others, nemenyi
from virb.stats.signed_rank import smallest_holm_p
from virb.stats.standing import standing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    alpha: float,
    top: int,
    resample: str,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Ranks of the encoders with their intervals; ``pairs``: tests of every pair; ``leader``: the leader against the rest."""
    import numpy as np

    # Ranks are over the tasks that all encoders have, as in a report, before any encoder is left out.
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_ranked=True)
    wide = data.wide
    found = standing(wide, data.categories, top=top, within_categories=resample == "within-categories")
    test, ranks = found.friedman, found.table
    table = ranks.rename_axis("encoder").reset_index()
    scaled, scale = on_one_scale(data.frame, wide)
    pairs = holm_wilcoxon(scaled)
    pairs["p_nemenyi"] = nemenyi(wide).loc[scaled.index, scaled.index].to_numpy()[np.triu_indices(len(scaled), 1)]
    against = leader_against_others(scaled)
    return Tables(
        {
            "": table.assign(role=table["encoder"].map(roles(data.frame))),
            "pairs": pairs.assign(scale=scale),
            "leader": against.table.assign(leader=against.name, least_p=against.least_p, scale=scale),
        },
        n_tasks=wide.shape[1],
        friedman_chi2=test.statistic,
        kendall_w=test.kendall_w,
        iman_davenport_f=test.f,
        iman_davenport_p=test.f_pvalue,
        p=found.p,
        least_p=found.least_p,
        p_tasks=found.p_tasks,
        shuffled=found.blocks,
        resampled=found.resampled,
        luck_first=found.luck_first,
        mean_ranks={str(name): rank for name, rank in test.mean_ranks.items()},
        critical_difference=critical_difference(len(wide), wide.shape[1], alpha=alpha),
        alpha=alpha,
        top=top,
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    """What the ranking shows, each with what it counts and what luck alone would give."""
    facts, table, against = tables.facts, tables[""], tables["leader"]
    n_encoders, n_tasks, alpha, p = len(table), facts["n_tasks"], facts["alpha"], facts["p"]
    smallest = f" (it cannot fall below {facts['least_p']:.2g})" if facts["least_p"] >= alpha else ""
    f_test = f"Iman-Davenport's F = {facts['iman_davenport_f']:.2f}, p = {facts['iman_davenport_p']:.2g}"
    alone = (
        f"; counting tasks as independent p = {facts['p_tasks']:.2g} and {f_test}, too small where tasks of a category agree"
        if p != facts["p_tasks"]
        else f"; {f_test}"
    )
    least = against["least_p"].iloc[0]
    of_leader = (
        f"{int((against['p'] < alpha).sum())} of {len(against)} differ"
        if least < alpha
        else f"impossible (with {n_tasks} tasks none can fall below {least:.2g})"
    )
    return [
        f"Friedman: chi2 = {facts['friedman_chi2']:.2f}, Kendall's W = {facts['kendall_w']:.2f} (n = {n_tasks} tasks, {n_encoders} "
        f"encoders), p = {p:.2g} from shuffling encoders on {facts['shuffled']}{smallest}{alone}",
        f"critical difference of mean ranks {facts['critical_difference']:.2f} (Nemenyi; tasks counted as independent)",
        f"Wilcoxon with Holm's correction, {against['scale'].iloc[0]}: {pairs_in_words(tables['pairs'], n_tasks, alpha)}; "
        f"{against['leader'].iloc[0]} against the "
        f"{len(against)} others alone, {of_leader} (that it was chosen from these scores is counted)",
        f"P(among the best {facts['top']}), {facts['resampled']}: "
        + ", ".join(f"{row.encoder} {row.p_top:.0%}" for row in table.head(5).itertuples()),
        f"P(first): {table['encoder'].iloc[0]} {table['p_first'].iloc[0]:.0%}, where the leader of {n_encoders} equal encoders over "
        f"{n_tasks} independent tasks would get {facts['luck_first']:.0%}",
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import pandas as pd

    from virb.figures import plots

    facts = tables.facts
    ranks = tables[""].set_index("encoder")
    order, limit, of = pd.Series(facts["mean_ranks"]), facts["critical_difference"], ranks["role"]
    n_encoders = len(order)
    drawn, more = plots.ends_of(list(order.index))
    bars = [members for members in cliques(order, limit) if {members[0], members[-1]} <= set(drawn)]
    order = order[drawn]
    with plots.style():
        fig = plots.figure(plots.COLUMN, 0.5 + 0.15 * max(len(order), 3))
        axes = fig.add_subplot()
        shades = plots.role_colours(of)
        for k, name in enumerate(order.index):
            axes.plot(order[name], k, "o", markersize=3.5, color=shades[of[name]], markeredgewidth=0, zorder=3)
            axes.hlines(
                k,
                ranks.loc[name, "mean_low"],
                ranks.loc[name, "mean_high"],
                color=shades[of[name]],
                linewidth=0.7,
                alpha=0.6,
            )
        place = {name: k for k, name in enumerate(order.index)}
        first = len(order) + 0.15
        for j, members in enumerate(bars):
            y = first + 0.32 * j
            axes.hlines(y, order[members[0]], order[members[-1]], color=plots.OKABE_ITO[5], linewidth=2.2)
            for name in (members[0], members[-1]):
                axes.vlines(order[name], place[name], y, color=plots.OKABE_ITO[5], linewidth=0.35, alpha=0.6, zorder=1)
        axes.set_yticks(range(len(order)), list(order.index), fontsize=6.5 if len(order) <= 20 else 5.5)
        axes.set_ylim(first + 0.32 * len(bars) + 0.1, -1.6)
        axes.hlines(-1.0, 1, 1 + limit, color=plots.BLACK, linewidth=1.2)
        # Beside its bar where there is room, else on it.
        axes.set_xlim(0.7, n_encoders + 0.3)
        is_long = 1 + limit > 0.6 * n_encoders
        axes.text(
            1 + limit / 2 if is_long else 1 + limit + 0.03 * n_encoders, -1.15 if is_long else -1.0,
            f"critical difference {limit:.2f}", va="bottom" if is_long else "center", ha="center" if is_long else "left", fontsize=6,
        )  # fmt: skip
        axes.set_xlabel("mean rank over tasks (1 is best)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        note = f"{more}{facts['n_tasks']} tasks, counted as independent; thin lines: about 95% interval of the mean rank (Student's t over "
        note += f"tasks); bars below join encoders that Nemenyi's test at {facts['alpha']:g} cannot tell apart."
        if facts["p_tasks"] != facts["p"]:
            note += f" Friedman's p with whole categories shuffled: {facts['p']:.2g}"
            only_tasks = facts["p"] >= facts["alpha"] > facts["p_tasks"]
            note += ", so that the bars tell apart what may be luck." if only_tasks else "."
        note = f"{note} {facts['note']}"
        handles = plots.colour_handles(shades) if len(shades) > 1 else []
        plots.titles(fig, f"Ranking of {n_encoders} encoders", note, handles=handles)
    return {"": fig}


def pairs_in_words(pairs: DataFrame, n_tasks: int, alpha: float) -> str:
    """How many pairs differ, or that so few tasks cannot show it."""
    least = smallest_holm_p(n_tasks, len(pairs))
    if least >= alpha:
        return f"impossible (with {n_tasks} tasks no p over {len(pairs)} comparisons can fall below {least:.2g})"
    return f"{int((pairs['p_holm'] < alpha).sum())} of {len(pairs)} pairs differ"


ANALYSIS = Analysis(
    name="critical-difference",
    summary="Ranking of encoders over tasks with a critical-difference diagram",
    source="Demšar 2006, Figure 1",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
    min_tasks=2,
    options=(
        Option("alpha", 0.05, "Level of the tests.", type=float),
        Option("top", 3, "Size of the top group whose probability is given.", type=int),
        Option(
            "resample",
            "tasks",
            "What probabilities of ranks resample: tasks freely, or inside their category, which holds a task that is alone "
            "in its category fixed.",
            choices=("tasks", "within-categories"),
        ),
        EXCLUDE,
        MISSING,
    ),
)
