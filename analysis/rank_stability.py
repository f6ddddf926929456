"""How the ranking of encoders changes when a category of tasks, or one task, is left out.

A leaderboard's order is an average over the tasks it happens to have. Kendall's tau compares each shortened ranking
with the full one; the table has every encoder's rank.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.stats.standing import rank_stability

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes, *, exclude: tuple[str, ...], missing: str) -> Tables:
    """A row a shortened ranking (``kind``: without a task, or without a category); every encoder's rank in a column."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_ranked=True)
    parts = [rank_stability(data.wide).assign(kind="task")]
    if data.categories.nunique() > 1:
        parts.append(rank_stability(data.wide, data.categories).assign(kind="category"))
    return Tables(
        {"": pd.concat(parts, ignore_index=True)},
        n_tasks=data.wide.shape[1],
        roles=dict(roles(data.frame).loc[data.wide.index]),
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    tasks = tables[""][tables[""]["kind"] == "task"]
    best = tasks["best"].iloc[0]
    changed = list(tasks.loc[tasks["best"] != best, "left_out"])
    return [
        f"{best} leads; leaving out one task keeps Kendall's tau at {tasks['kendall_tau'].min():.2f} or more"
        + (f"; without {', '.join(changed[:4])} another leads" if len(changed) else " and the same leader")
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    """Ranks without each category, or without each task where there is one category."""
    from virb.figures import plots

    facts, of = tables.facts, tables.facts["roles"]
    what = "category" if (tables[""]["kind"] == "category").any() else "task"
    shown = tables[""][tables[""]["kind"] == what].reset_index(drop=True)
    # Beside the ranking on all, the tasks that change it most.
    moved = shown.iloc[1:].sort_values("kendall_tau", kind="stable")["left_out"]
    columns = plots.choose(
        moved, most=30, what=f"{what} left out, by how much they change,", drawn_as=shown["left_out"].iloc[1:]
    )
    shown = shown[(shown.index == 0) | shown["left_out"].astype(str).isin(set(columns.names))].reset_index(drop=True)
    chosen = plots.choose(sorted(of, key=lambda name: float(shown[name][0])), what="encoders")
    order = chosen.names
    # A panel for each run of encoders: between them are those that are not drawn.
    starts = [0, *chosen.skipped, len(order)]
    runs = [order[first:end] for first, end in itertools.pairwise(starts)]
    labels = ["all"] + [str(name) for name in shown["left_out"][1:]]
    shades = dict(zip([name for name in order if of[name] != "supervised"][:6], plots.OKABE_ITO, strict=False))
    with plots.style():
        size = 6 if len(order) <= 30 else 5.5
        short = dict(zip(order, plots.shortened_names(order, size, 2.7), strict=True))
        long = max(plots.text_width(list(short.values()), size), 0.5)
        n = len(shown)
        width = max(plots.COLUMN, min(plots.PAGE, 0.5 + long + 0.42 * n))
        fig = plots.figure(width, 0.95 + 0.125 * max(len(order) + len(runs) - 1, 3))
        panels = fig.subplots(
            len(runs), 1, squeeze=False, sharex=True, height_ratios=[max(len(run), 2) for run in runs]
        )
        for axes, run in zip(panels[:, 0], runs, strict=True):
            for name in run:
                colour = plots.BLACK if of[name] == "supervised" else shades.get(name, "#BDBDBD")
                weight = 1.3 if name in shades or of[name] == "supervised" else 0.8
                axes.plot(range(n), shown[name].to_numpy(float), "-o", color=colour, linewidth=weight, markersize=2.5,
                          markeredgewidth=0, zorder=2 + (weight > 1))  # fmt: skip
            # Ties share a rank; the labels are spread so that none covers another, each joined to its line.
            by_end = sorted(run, key=lambda name: float(shown[name].iloc[-1]))
            last = [float(shown[name].iloc[-1]) for name in by_end]
            low, high = float(shown[run].min(axis=None)), float(shown[run].max(axis=None))
            places = plots.apart(last, 0.95 * max(1.0, (high - low) / max(len(run), 1)))
            for name, rank, y in zip(by_end, last, places, strict=True):
                shade = plots.BLACK if of[name] == "supervised" else shades.get(name, plots.GREY)
                axes.plot([n - 1, n - 1 + 0.04 * n], [rank, y], color=shade, linewidth=0.4, clip_on=False)
                axes.text(
                    n - 1 + 0.05 * n,
                    y,
                    short[name],
                    va="center",
                    fontsize=size,
                    color=plots.darker(shade),
                    clip_on=False,
                )
            axes.set_ylim(max(high, *places) + 0.6, min(low, *places) - 0.6)
            axes.set_xlim(-0.2, n - 1 + 0.2)
            axes.yaxis.get_major_locator().set_params(integer=True)
            # Labels that are spread reach beyond the ranks, where there are none to mark.
            axes.set_yticks([tick for tick in axes.get_yticks() if 1 <= tick <= len(of)])
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(axis="x", length=0)
            axes.grid(axis="x")
        panels[0, 0].set_ylabel("rank (1 is best)")
        column = (width - 0.5 - long) / n
        is_turned = n > 5 or plots.text_width(" ".join(labels).split(), 6.5) > 0.95 * column
        if not is_turned:
            labels = ["\n".join(plots.wrapped(label, 6.5, 0.95 * column)) for label in labels]
        panels[-1, 0].set_xticks(range(n), labels, rotation=90 if is_turned else 0)
        taus = (
            ", ".join(f"{row.left_out} {row.kendall_tau:.2f}" for row in shown.iloc[1:].itertuples())
            if n <= 6
            else (f"{shown['kendall_tau'][1:].min():.2f} to {shown['kendall_tau'][1:].max():.2f}")
        )
        note = f"n = {facts['n_tasks']} tasks. {chosen.note}{columns.note}Kendall's tau with the ranking on all: {taus}. {facts['note']}"
        plots.titles(fig, f"Ranks without each {what}", note)
    return {"": fig}


ANALYSIS = Analysis(
    name="rank-stability",
    summary="How the ranking of encoders changes when tasks are left out",
    source="beyond the papers; Demšar 2006 for the ranks",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    min_tasks=3,
    options=(EXCLUDE, MISSING),
)
