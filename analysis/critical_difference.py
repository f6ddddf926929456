"""Ranking of encoders over tasks with Friedman's test and a critical-difference diagram.

Demšar 2006. Encoders joined by a bar cannot be told apart by Nemenyi's test. Pitfalls: Nemenyi's test and the intervals
count tasks as independent and alike; Friedman's p shuffles whole categories where there are some. Nemenyi's differences
depend on how many encoders are compared: pairs of interest are better read from the Holm-adjusted Wilcoxon table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.scores.units import on_one_scale
from virb.stats.ranking import cliques, critical_difference, leader_against_others, nemenyi, pair_tests
from virb.stats.signed_rank import smallest_holm_p
from virb.stats.standing import standing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from virb.figures.tables import Table

MOST_IN_PAIRS = 2_000  # encoders, of which the table of pairs has all: two million rows
BEST_IN_PAIRS = 1_000  # of more
MOST_GROUPS = 24  # bars of groups that can be told from each other beside a figure


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
    tests = pair_tests(scaled)
    among = scaled.index
    if len(among) > MOST_IN_PAIRS:
        among = ranks.index[:BEST_IN_PAIRS]
        notes.say(
            f"the table of pairs has those of the best {len(among):,} encoders; all {len(tests.p):,} pairs were tested and are "
            "counted in the corrections (for pairs of others --select them)"
        )
    pairs = tests.table(among)
    pairs["p_nemenyi"] = nemenyi(wide, among=among).to_numpy()[np.triu_indices(len(among), 1)]
    against = leader_against_others(scaled)
    return Tables(
        {
            "": table.assign(role=table["encoder"].map(roles(data.frame))),
            "pairs": pairs.assign(scale=scale),
            "leader": against.table.assign(leader=against.name, least_p=against.least_p, scale=scale),
        },
        n_tasks=wide.shape[1],
        n_pairs=len(tests.p),
        n_pairs_that_differ=int((tests.p_holm < alpha).sum()),
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
    agreeing = (
        "; tasks are counted as independent, and where those of a category agree (r = .8) some of six equal encoders differ in three "
        "studies of four"
        if p != facts["p_tasks"]
        else "; tasks are counted as independent"
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
        f"Wilcoxon with Holm's correction, {against['scale'].iloc[0]}: {pairs_in_words(facts, alpha)}; "
        f"{against['leader'].iloc[0]} against the "
        f"{len(against)} others alone, {of_leader} (that it was chosen from these scores is counted){agreeing}",
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
    chosen = plots.choose(order.index, what="encoders")
    place = dict(zip(chosen.names, chosen.places, strict=True))
    # A bar beside the rows of each group: rows are in the order of ranks, so that a group is a run of them.
    bars = [kept for members in cliques(order, limit) if len(kept := [place[m] for m in members if m in place]) > 1]
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(chosen.n_rows + 1))
        axes = fig.add_subplot()
        shades = plots.role_colours(of)
        for name, k in place.items():
            colour = shades[of[name]]
            axes.plot(order[name], k, "o", markersize=3.5, color=colour, markeredgewidth=0, zorder=3)
            axes.hlines(
                k, ranks.loc[name, "mean_low"], ranks.loc[name, "mean_high"], color=colour, linewidth=0.7, alpha=0.6
            )
        beside = max(0.3, 0.015 * n_encoders)
        axes.set_xlim(1 - beside, n_encoders + beside)
        groups = list(dict.fromkeys((kept[0], kept[-1]) for kept in bars))
        groups = groups if len(groups) <= MOST_GROUPS else []
        step = 0.018 if len(groups) <= 12 else 0.22 / len(groups)
        for j, rows in enumerate(groups):
            axes.plot(
                [1.02 + step * j] * 2, [rows[0] - 0.25, rows[1] + 0.25], color=plots.OKABE_ITO[5], linewidth=min(1.6, 90 * step),
                solid_capstyle="butt", transform=axes.get_yaxis_transform(), clip_on=False,
            )  # fmt: skip
        chosen.label_rows(axes)
        axes.set_ylim(chosen.n_rows - 0.4, -1.9)
        axes.hlines(-1.0, 1, 1 + limit, color=plots.BLACK, linewidth=1.2)
        # Beside its bar where there is room, else on it.
        is_long = 1 + limit > 0.55 * n_encoders
        axes.text(
            1 if is_long else 1 + limit + 0.03 * n_encoders, -1.15 if is_long else -1.0,
            f"critical difference {limit:.2f}" if limit < 100 else f"critical difference {limit:.0f}", va="bottom" if is_long else "center", ha="left", fontsize=6,
        )  # fmt: skip
        axes.set_xlabel("mean rank over tasks (1 is best)")
        axes.grid(axis="x")
        note = f"{chosen.note}{facts['n_tasks']} tasks, counted as independent; thin lines: about 95% interval of the mean rank (Student's t over "
        note += "tasks); "
        joined = f"that Nemenyi's test at {facts['alpha']:g} cannot tell apart"
        if bars and not groups:
            note += f"groups {joined} are too many to draw: they lie within the critical difference."
        else:
            note += f"bars at the right join encoders {joined}."
        if facts["p_tasks"] != facts["p"]:
            note += f" Friedman's p with whole categories shuffled: {facts['p']:.2g}"
            only_tasks = facts["p"] >= facts["alpha"] > facts["p_tasks"]
            note += ", so that the bars tell apart what may be luck." if only_tasks else "."
        note = f"{note} {facts['note']}"
        handles = plots.colour_handles(shades) if len(shades) > 1 else []
        plots.titles(fig, f"Ranking of {n_encoders} encoders", note, handles=handles)
    return {"": fig}


def pairs_in_words(facts: Mapping[str, Any], alpha: float) -> str:
    """How many pairs differ, or that so few tasks cannot show it."""
    n_tasks, n_pairs = facts["n_tasks"], facts["n_pairs"]
    least = smallest_holm_p(n_tasks, n_pairs)
    if least >= alpha:
        return f"impossible (with {n_tasks} tasks no p over {n_pairs} comparisons can fall below {least:.2g})"
    return f"{facts['n_pairs_that_differ']} of {n_pairs} pairs differ"


def typeset(tables: Tables) -> Table:
    from virb.figures.tables import Table

    facts, against = tables.facts, tables["leader"]
    leader = str(against["leader"].iloc[0])
    is_worse = dict(zip(against["encoder"], against["p"] < facts["alpha"], strict=True))
    rows = [
        [row.encoder, f"{row.mean_rank:.2f}", f"{row.mean_low:.2f} to {row.mean_high:.2f}", f"{row.p_first:.2f}"]
        for row in tables[""].itertuples()
    ]
    return Table(
        ["encoder", "mean rank", "95% interval", "P(first)"],
        rows,
        numbers=frozenset({1, 2, 3}),
        best=frozenset((k, 1) for k, row in enumerate(rows) if not is_worse.get(row[0], False)),
        caption=f"{facts['n_tasks']} tasks. Bold: {leader}, and those that the signed-rank test over tasks does not tell from it at "
        f"{facts['alpha']:g} (the choice of the leader and all {len(against)} comparisons counted).",
    )


ANALYSIS = Analysis(
    name="critical-difference",
    summary="Ranking of encoders over tasks with a critical-difference diagram",
    source="Demšar 2006, Figure 1",
    compute=compute,
    draw=draw,
    say=say,
    typeset=typeset,
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
