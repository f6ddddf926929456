"""How the ranking of encoders changes when a category of tasks, or one task, is left out.

A leaderboard's order is an average over the tasks it happens to have. Kendall's tau compares each shortened ranking
with the full one; the table has every encoder's rank.
"""

from __future__ import annotations

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
    order, more = plots.ends_of(sorted(of, key=lambda name: float(shown[name][0])))
    with plots.style():
        long = max(plots.text_width([str(name) for name in order], 6), 0.5)
        n = len(shown)
        fig = plots.figure(max(plots.COLUMN, min(plots.PAGE, 0.5 + long + 0.42 * n)), 0.95 + 0.125 * max(len(order), 3))
        axes = fig.add_subplot()
        highlighted = [*order[:6]]
        shades = dict(zip(highlighted, plots.OKABE_ITO, strict=False))
        for name in order:
            ranks = shown[name].to_numpy(float)
            colour = plots.BLACK if of[name] == "supervised" else shades.get(name, plots.LIGHT)
            width = 1.3 if name in shades or of[name] == "supervised" else 0.8
            axes.plot(
                range(n),
                ranks,
                "-o",
                color=colour,
                linewidth=width,
                markersize=2.5,
                markeredgewidth=0,
                zorder=2 + (width > 1),
            )
        # Ties share a rank; the labels are spread so that none covers another.
        places = _spread(
            [float(shown[name].iloc[-1]) for name in sorted(order, key=lambda k: float(shown[k].iloc[-1]))],
            0.95 * max(1.0, len(of) / max(len(order), 1)),
        )
        size = 6 if len(order) <= 20 else 5
        for name, y in zip(sorted(order, key=lambda k: float(shown[k].iloc[-1])), places, strict=True):
            axes.text(n - 1 + 0.12, y, str(name), va="center", fontsize=size, color=plots.BLACK, clip_on=False)
        labels = ["all"] + [str(name) for name in shown["left_out"][1:]]
        axes.set_xticks(range(n), labels, rotation=90 if n > 5 else 20, ha="center" if n > 5 else "right")
        axes.set_ylim(max(float(shown[order].max(axis=None)), max(places)) + 0.6, 0.4)
        axes.set_xlim(-0.2, n - 1 + 0.2)
        axes.set_ylabel("rank (1 is best)")
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.grid(axis="x")
        fig.get_layout_engine().set(rect=(0, 0, 1, 1))
        taus = (
            ", ".join(f"{row.left_out} {row.kendall_tau:.2f}" for row in shown.iloc[1:].itertuples())
            if n <= 6
            else (f"{shown['kendall_tau'][1:].min():.2f} to {shown['kendall_tau'][1:].max():.2f}")
        )
        note = f"n = {facts['n_tasks']} tasks. {more}Kendall's tau with the ranking on all: {taus}. {facts['note']}"
        plots.titles(fig, f"Ranks without each {what}", note)
    return {"": fig}


def _spread(values: list[float], gap: float = 0.95) -> list[float]:
    """Move sorted positions apart to at least ``gap``, as little as possible to one side."""
    out: list[float] = []
    for value in values:
        out.append(max(value, out[-1] + gap) if out else value)
    return out


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
