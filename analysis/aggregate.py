"""All tasks as one number an encoder, with what is not seen in it: interquartile mean, performance profiles, probability of improvement.

Agarwal et al. 2021. The interquartile mean is less wild than the mean and less wasteful than the median; a profile shows on which share of
runs and tasks a score is reached, and profiles that cross are no ranking; the probability of improvement says nothing of size. Pitfall:
intervals over runs are about these very tasks; with other tasks of the kind everything moves far more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.scores.scale import SCALE, Scaled, on_scale
from virb.scores.weights import blocks_of
from virb.stats.aggregation import (
    Runs,
    improvement,
    improvement_interval,
    interquartile_mean,
    optimality_gap,
    over_runs,
    over_tasks,
    profile,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from virb.figures.tables import Table

PROFILES = 6


def compute(scores: DataFrame, notes: Notes, *, scale: str, exclude: tuple[str, ...], missing: str) -> Tables:
    """A row an encoder, best first; ``improvement``: the leader over each other; ``profiles``: of the leading ones."""
    import numpy as np
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing)
    scaled = on_scale(data, notes, scale=scale)
    runs = runs_of(scaled)
    blocks, counted = blocks_of(data.categories[scaled.wide.columns])

    def middle(some: Runs) -> np.ndarray:
        return interquartile_mean(some.values, some.weights())

    table = pd.DataFrame(
        {
            "encoder": scaled.wide.index,
            "iqm": middle(runs),
            "mean": (runs.weights() * np.nan_to_num(runs.values)).sum(axis=1),
        }
    )
    spreads = {"runs": over_runs(runs, middle), "tasks": over_tasks(runs, middle, blocks)}
    for name, spread in spreads.items():
        half = spread.half()
        table[f"low_{name}"], table[f"high_{name}"] = table["iqm"] - half, table["iqm"] + half
    if scaled.words.startswith("from chance"):
        table["optimality_gap"] = optimality_gap(runs)
    table["role"] = table["encoder"].map(roles(data.frame))
    order = np.argsort(-table["iqm"].to_numpy(), kind="stable")
    lead, others = int(order[0]), order[1:]

    def ahead(some: Runs) -> np.ndarray:
        return improvement(some.values[lead], some.values[others], some.task).mean(axis=-1)

    against = pd.DataFrame(
        {"encoder": table["encoder"].to_numpy()[lead], "over": table["encoder"].to_numpy()[others], "p": ahead(runs)}
    )
    alone = np.arange(len(table)) == lead
    n_blocks = len(np.unique(blocks))
    for name, spread, most in (
        ("runs", over_runs(runs, ahead, alone=alone), float(runs.n_runs.sum())),
        ("tasks", over_tasks(runs, ahead, blocks), float(n_blocks)),
    ):
        low, high = improvement_interval(against["p"].to_numpy(float), spread, most, families=len(table))
        against[f"low_{name}"], against[f"high_{name}"] = low, high
    drawn = order[:PROFILES]
    levels = np.linspace(np.nanmin(runs.values[drawn]), np.nanmax(runs.values[drawn]), 101)
    curves = pd.DataFrame(profile(runs, levels)[drawn].T, columns=table["encoder"].to_numpy()[drawn])
    tidy = curves.assign(level=levels).melt("level", var_name="encoder", value_name="share")
    single = [str(name) for name in table.loc[table["low_runs"].isna(), "encoder"]]
    if single:
        notes.say(f"one run on some task, so that nothing is known of other runs: {names_in_words(single)}")
    return Tables(
        {"": table.iloc[order], "improvement": against, "profiles": tidy[["encoder", "level", "share"]]},
        scale=scaled.words,
        counted=counted,
        n_tasks=runs.n_tasks,
        n_runs=int(np.median(runs.n_runs)),
        are_paired=runs.are_paired,
        note=data.note,
    )


def runs_of(scaled: Scaled) -> Runs:
    """Every repeat of every encoder on every task; repeats of one number count as one draw where all encoders have the same."""
    import numpy as np

    encoders, tasks = scaled.wide.index, scaled.wide.columns
    if "seed" not in scaled.frame or not scaled.frame.duplicated(["encoder", "task"]).any():
        return Runs.of([scaled.wide[[task]].to_numpy(float) for task in tasks])
    wide = scaled.frame.pivot_table(index="encoder", columns=["task", "seed"], values="score").reindex(encoders)
    of = wide.columns.get_level_values("task")
    parts = [wide.loc[:, of == task].to_numpy(float) for task in tasks]
    are_paired = bool(np.mean([np.isfinite(part).all() for part in parts]) > 0.5)
    if not are_paired:  # seeds of their own: runs side by side, without places for other encoders' seeds
        parts = [_packed(part) for part in parts]
    return Runs.of(parts, are_paired=are_paired)


def _packed(part: np.ndarray) -> np.ndarray:
    import numpy as np

    order = np.argsort(np.isnan(part), axis=1, kind="stable")
    most = int(np.isfinite(part).sum(axis=1).max())
    return np.take_along_axis(part, order, axis=1)[:, :most]


def say(tables: Tables) -> list[str]:
    """The leading three, the leader over the next, and whether profiles cross."""
    table, against, facts = tables[""], tables["improvement"], tables.facts

    def interval(row: tuple[float, float], what: str) -> str:
        return f"{row[0]:.3f} to {row[1]:.3f} with other {what}" if row[0] == row[0] else f"unknown with other {what}"

    lines = [
        f"interquartile mean {facts['scale']} over {facts['n_tasks']} tasks: "
        + "; ".join(
            f"{row.encoder} {row.iqm:.3f} (95%: {interval((row.low_runs, row.high_runs), 'runs')}, "
            f"{interval((row.low_tasks, row.high_tasks), 'tasks')})"
            for row in table.head(3).itertuples()
        )
        + f"; other tasks: {facts['counted']}"
    ]
    sure = against[(against["low_tasks"] > 0.5)]
    next_one = against.iloc[0]
    lines.append(
        f"P(improvement) of {next_one['encoder']} over {next_one['over']}: {next_one['p']:.2f} ({interval((next_one['low_runs'], next_one['high_runs']), 'runs')}, "
        f"{interval((next_one['low_tasks'], next_one['high_tasks']), 'tasks')}); with other tasks it is above .5 over {len(sure)} of {len(against)}; intervals "
        "hold for all pairs at once, so that the leader's choice is counted"
    )
    wide = tables["profiles"].pivot(index="level", columns="encoder", values="share")
    names = list(table["encoder"].head(wide.shape[1]))
    crossed = [name for name in names[1:] if ((wide[names[0]] - wide[name]) < -1e-9).any()]
    lines.append(
        f"profiles: {names[0]}'s is crossed by {len(crossed)} of the {len(names) - 1} next, which is no ranking then"
        if crossed
        else f"profiles: {names[0]}'s lies above those of the {len(names) - 1} next everywhere"
    )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    return {"": _draw_means(tables), "profiles": _draw_profiles(tables)}


def _draw_means(tables: Tables) -> Figure:
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    chosen = plots.choose(table["encoder"], what="encoders")
    shown = table[table["encoder"].isin(set(chosen.names))]
    shades = plots.role_colours(shown["role"])
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(chosen.n_rows))
        axes = fig.add_subplot()
        for k, row in zip(chosen.places, shown.itertuples(), strict=True):
            colour = shades[str(row.role)]
            axes.hlines(k, row.low_tasks, row.high_tasks, color=colour, linewidth=0.7, alpha=0.7)
            axes.hlines(k, row.low_runs, row.high_runs, color=colour, linewidth=2.4)
            axes.plot(row.iqm, k, "o", color=colour, markersize=3.2, markeredgewidth=0, zorder=3)
        chosen.label_rows(axes)
        axes.grid(axis="x")
        axes.set_xlabel("interquartile mean")
        runs = f"Thick: 95% with other runs ({facts['n_runs']} a cell). " if facts["n_runs"] > 1 else "One run a cell. "
        note = f"Scores {facts['scale']}, {facts['n_tasks']} tasks. {runs}Thin: with other tasks ({facts['counted']}). {chosen.note}{facts['note']}"
        plots.titles(
            fig,
            f"Interquartile mean of {len(table)} encoders",
            note,
            handles=plots.colour_handles(shades) if len(shades) > 1 else [],
        )
    return fig


def _draw_profiles(tables: Tables) -> Figure:
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    curves = dict(list(tables["profiles"].groupby("encoder", sort=False)))
    names = [name for name in table["encoder"] if name in curves]
    shades = dict(zip(names, plots.OKABE_ITO, strict=False))
    with plots.style():
        fig = plots.figure(plots.COLUMN, 2.0)
        axes = fig.add_subplot()
        for name in names:
            axes.step(curves[name]["level"], curves[name]["share"], where="post", color=shades[name], linewidth=1.0)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(f"score {facts['scale']}")
        axes.set_ylabel("share of tasks and runs above it")
        axes.grid()
        note = f"{facts['n_tasks']} tasks, each weighing the same. Curves that cross are no ranking. {facts['note']}"
        plots.titles(
            fig,
            "Performance profiles",
            note,
            handles=plots.colour_handles(shades),
            ncols=2,
        )
    return fig


def typeset(tables: Tables) -> Table:
    from virb.figures.tables import Table

    table, facts, against = tables[""], tables.facts, tables["improvement"].set_index("over")
    is_told = (against["low_tasks"] > 0.5).reindex(table["encoder"]).fillna(False)
    rows = [
        [row.encoder, f"{row.iqm:.3f}", f"{row.low_tasks:.3f} to {row.high_tasks:.3f}", f"{row.mean:.3f}"]
        for row in table.itertuples()
    ]
    return Table(
        ["encoder", "interquartile mean", "95% with other tasks", "mean"],
        rows,
        numbers=frozenset({1, 2, 3}),
        best=frozenset((k, 1) for k, told in enumerate(is_told) if not told),
        caption=f"Scores {facts['scale']}, {facts['n_tasks']} tasks. Bold: {table['encoder'].iloc[0]}, and those over which its probability "
        f"of improvement with other tasks may be .5 (intervals for all pairs at once; {facts['counted']}).",
    )


ANALYSIS = Analysis(
    name="aggregate",
    summary="All tasks as one number: interquartile mean with intervals, performance profiles, probability of improvement",
    source="Agarwal et al. 2021 (rliable)",
    compute=compute,
    draw=draw,
    say=say,
    typeset=typeset,
    min_encoders=2,
    min_tasks=2,
    options=(SCALE, EXCLUDE, MISSING),
)
