"""What analyze draws and sets of decide's tables: the pair or the field, as bars of three probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from virb.contracts.tables import Tables
from virb.stats.decision import half_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virb.figures.tables import Table

SAMPLED, THESE = "over tasks of this kind", "on these very tasks"


def _stack(axes: Any, place: list[float], rows: Any) -> list[str]:
    from virb.figures import plots

    shades = [plots.OKABE_ITO[0], plots.LIGHT, plots.OKABE_ITO[5]]
    left = [0.0] * len(place)
    for values, shade in zip(zip(*rows, strict=True), shades, strict=True):
        axes.barh(place, values, left=left, color=shade, height=0.74, linewidth=0)
        left = [start + float(value) for start, value in zip(left, values, strict=True)]
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return shades


def typeset(tables: Tables) -> Table:
    import numpy as np

    from virb.figures.tables import Table

    table, facts = tables[""], tables.facts
    if facts["a"]:
        keys = ("better", "equal", "worse")
        rows = [
            [row.view, f"{row.region:g}", f"{row.difference:.4f}", f"{row.low:.4f} to {row.high:.4f}"]
            + [f"{getattr(row, key):.2f}" for key in keys]
            for row in table.itertuples()
        ]
        best = frozenset(
            (k, 4 + int(np.argmax([getattr(row, key) for key in keys]))) for k, row in enumerate(table.itertuples())
        )
        heads = [
            "view",
            "region",
            "difference",
            "95% interval",
            f"P({facts['a']} better)",
            "P(equal)",
            f"P({facts['b']} better)",
        ]
        caption = f"{facts['a']} less {facts['b']}, {facts['scale']}. Bold: the likeliest."
        return Table(heads, rows, numbers=frozenset(range(1, 7)), best=best, caption=caption)
    rows = [
        [
            row.encoder,
            f"{row.mean:.4f}",
            f"{row.p_best:.2f}",
            f"{row.leader_better:.2f}",
            f"{row.equal:.2f}",
            f"{row.leader_worse:.2f}",
        ]
        for row in table.itertuples()
    ]
    return Table(
        ["encoder", "mean", "P(best of all)", "P(leader better)", "P(practically equal)", "P(leader worse)"],
        rows,
        numbers=frozenset(range(1, 6)),
        best=frozenset((k, 1) for k, better in enumerate(table["leader_better"]) if better < 0.95),
        caption=f"Scores {facts['scale']}. Bold: {table['encoder'].iloc[0]}, and those that it is not better than by more than "
        f"{facts['region']:g} with P ≥ .95 ({facts['counted']}; its choice counted).",
    )


def draw(tables: Tables) -> dict[str, Figure]:
    return {"": draw_pair(tables) if tables.facts["a"] else draw_field(tables)}


def draw_pair(tables: Tables) -> Figure:
    """Above, the difference on every task with the region; below, the three probabilities for three regions."""
    from virb.figures import plots

    answers, tasks = tables[""], tables["tasks"]
    words, rope, view = (tables.facts[key] for key in ("scale", "region", "view"))
    part = answers[answers["view"] == view]
    if part.empty:
        part = answers[answers["view"].isin([SAMPLED, THESE])]
        view = str(part["view"].iloc[0])
        part = part[part["view"] == view]
    row = part[part["region"] == rope].iloc[0]
    shown = tasks.sort_values("difference", ascending=False, kind="stable")
    chosen = plots.choose(shown["task"], most=50, what="tasks")
    shown = shown[shown["task"].isin(set(chosen.names))]
    n = chosen.n_rows
    colours = plots.category_colours(tasks["category"])
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(n) + 1.0)
        top, bottom = fig.subplots(2, 1, height_ratios=[max(n, 3) + 1.5, 4.2])
        top.axvspan(-rope, rope, color="#EDEDED", linewidth=0)
        top.axvline(0, color=plots.BLACK, linewidth=0.6)
        for k, one in zip(chosen.places, shown.itertuples(), strict=True):
            shade = plots.darker(colours[one.category]) if one.category else plots.BLACK
            if one.se_repeats == one.se_repeats:
                half = half_width(one.df) * one.se_repeats
                top.hlines(k, one.difference - half, one.difference + half, color=shade, linewidth=0.8)
            top.plot(one.difference, k, "o", color=shade, markersize=3, markeredgewidth=0)
        top.hlines(n, row["low"], row["high"], color=plots.BLACK, linewidth=1.4)
        top.plot(row["difference"], n, "D", color=plots.BLACK, markersize=3.5, markeredgewidth=0)
        below = plots.Rows([*chosen.names, "weighted mean"], chosen.skipped, "")
        below.label_rows(top)
        top.set_ylim(n + 0.9, -0.7)
        top.grid(axis="x")
        top.set_xlabel("difference")
        shades = _stack(bottom, [0, 1, 2], part[["better", "equal", "worse"]].to_numpy())
        bottom.set_yticks([0, 1, 2], [f"region {value:g}" for value in part["region"]])
        bottom.set_ylim(2.6, -0.6)
        bottom.set_xlabel("probability")
        labels = (f"{row['a']} better", "practically equal", f"{row['b']} better")
        handles = [plots.Patch(facecolor=c, label=t, linewidth=0) for c, t in zip(shades, labels, strict=True)]
        note = f"Lines: 95% interval over repeats, and of the mean {view} ({tables.facts['counted']}). Grey band: region {rope:g}. {chosen.note}{tables.facts['note']}"
        plots.titles(fig, f"{row['a']} less {row['b']}", f"Differences {words}. {note}", handles=handles, ncols=1)
    return fig


def draw_field(tables: Tables) -> Figure:
    """The leader against each other: probabilities, best first; P(best of all) at the right."""
    from virb.figures import plots

    table, about = tables[""], tables.facts
    leader, words, rope = table.iloc[0], about["scale"], about["region"]
    chosen = plots.choose(table["encoder"].iloc[1:], what="others")
    shown = table.iloc[1:].loc[table["encoder"].isin(set(chosen.names))]
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(chosen.n_rows) + 0.1)
        axes = fig.add_subplot()
        shades = _stack(axes, chosen.places, shown[["leader_better", "equal", "leader_worse"]].to_numpy())
        chosen.label_rows(axes)
        for k, value in zip(chosen.places, shown["p_best"], strict=True):
            axes.text(1.02, k, f"{value:.2f}".removeprefix("0"), va="center", fontsize=5.8)
        axes.text(1.02, -0.95, "P(best)", va="center", fontsize=5.8)
        axes.set_ylim(chosen.n_rows - 0.4, -1.3)
        axes.set_xlabel("probability")
        labels = (f"{leader['encoder']} better", "practically equal", "the other better")
        handles = [plots.Patch(facecolor=c, label=t, linewidth=0) for c, t in zip(shades, labels, strict=True)]
        note = f"P(best of all) of {leader['encoder']}: {leader['p_best']:.2f}. Region {rope:g}, {words}; {about['counted']}. The leader's choice is "
        note += f"counted. {chosen.note}{tables.facts['note']}"
        plots.titles(fig, f"{leader['encoder']} against each other", note, handles=handles, ncols=1)
    return fig
