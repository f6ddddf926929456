"""The smallest difference each comparison could have found: what "not significant" is worth.

For every task: the difference between two encoders that McNemar's test finds four times in five, from the number of
test examples; and what the seeds of the probe allow. For the whole study: the smallest correlation over its encoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, as_counts, prepare
from virb.scores.units import units_by_task, whole_share
from virb.stats.effects import detectable_correlation, detectable_mean_difference, repeat_noise
from virb.stats.permutation import detectable_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

OF_EXAMPLES = ("top1", "top-1", "top-1 accuracy")


def compute(
    scores: DataFrame, notes: Notes, *, discordant: float, power: float, exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a task, everything in the task's own unit."""
    import numpy as np
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    rows = []
    for task in data.wide.columns:
        part = data.frame[data.frame["task"] == task]
        gap = float(data.wide[task].max() - data.wide[task].median())
        sample = np.nan
        is_top1 = "metric" not in part or str(part["metric"].iloc[0]).lower() in OF_EXAMPLES
        n_test = as_counts(part["n_test"], "n_test", notes).dropna() if "n_test" in part else ()
        whole = whole_share(part)
        if is_top1 and len(n_test) == len(part) and whole:
            sample = whole * detectable_difference(int(n_test.min()), discordant, power=power)
        seeds = np.nan
        noise = repeat_noise(part)
        if noise is not None:
            seeds = detectable_mean_difference(noise.sd * np.sqrt(2 / noise.n_repeats), noise.df, power=power)
        rows.append((task, data.categories[task], gap, sample, seeds))
    table = pd.DataFrame(rows, columns=["task", "category", "best_less_median", "by_test_sample", "by_seeds"])
    n = len(data.wide)
    if table[["by_test_sample", "by_seeds"]].isna().to_numpy().all():
        notes.say(*_of_correlations(n, power))
        raise NotApplicable(
            "It needs the number of test examples (column n_test, as results folders have) or several seeds to say "
            "what difference could be found."
        )
    if "unit" in data.frame:
        table["unit"] = table["task"].map(units_by_task(data.frame))
    return Tables({"": table}, n_encoders=n, power=power, discordant=discordant, note=data.note)


def _of_correlations(n: int, power: float) -> list[str]:
    if n <= 3:
        return [f"over n = {n} encoders no correlation can be found"]
    smallest = detectable_correlation(n, power=power)
    return [
        f"correlations over n = {n} independent encoders: |r| from {smallest:.2f} is found with probability {power:g} at p < .05"
    ]


def say(tables: Tables) -> list[str]:
    table = tables[""]
    is_beyond = table["best_less_median"] >= table[["by_test_sample", "by_seeds"]].max(axis=1)
    return [
        *_of_correlations(tables.facts["n_encoders"], tables.facts["power"]),
        f"on {int(is_beyond.sum())} of {len(table)} tasks the best is further above the median than the least that can be found",
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    """Bars a task with what could be found; tasks of one unit share an axis."""
    from matplotlib.lines import Line2D

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    order = table.sort_values("best_less_median", ascending=False, kind="stable")["task"]
    chosen = plots.choose(order, what="tasks", drawn_as=table["task"])
    shown = table[table["task"].isin(set(chosen.names))]
    marks = {"by_test_sample": ("D", 3.5, "test sample"), "by_seeds": ("|", 6, "seeds")}
    marks = {column: mark for column, mark in marks.items() if shown[column].notna().any()}
    groups = plots.one_axis_each(shown, ["best_less_median", *marks])
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(len(shown)) + 0.4 * (len(groups) - 1))
        ratios = [max(len(part), 2) for _, part in groups]
        panels = fig.subplots(len(groups), 1, squeeze=False, height_ratios=ratios)[:, 0]
        for axes, (unit, part) in zip(panels, groups, strict=True):
            colours = plots.task_colours(dict(zip(part["task"], part["category"], strict=True)), part["task"])
            plots.bars(axes, list(part["task"]), list(part["best_less_median"]), colours)
            for column, (marker, size, _) in marks.items():
                axes.plot(part[column], range(len(part)), linestyle="", marker=marker, markersize=size, color=plots.BLACK,
                          markerfacecolor="white", markeredgewidth=0.8)  # fmt: skip
            if len(groups) > 1 and unit:
                axes.set_xlabel(unit)
        panels[-1].set_xlabel("best encoder less the median one" + (f" ({unit})" if unit else ""))
        handles = [
            *plots.category_handles(shown["category"]),
            *(Line2D([], [], linestyle="", marker=marker, markersize=size, color=plots.BLACK, markerfacecolor="white",
                     markeredgewidth=0.8, label=f"detectable: {label}") for marker, size, label in marks.values()),
        ]  # fmt: skip
        note = f"n = {facts['n_encoders']} encoders; marks: difference found with power {facts['power']:g} at p < .05; test sample: McNemar with "
        note += f"{facts['discordant']:.0%} of examples discordant; seeds: of two encoders with the same seeds. {chosen.note}{facts['note']}"
        plots.titles(fig, "Differences that could be found", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="detectable-effects",
    summary="The smallest differences and correlations that the study could have found",
    source="beyond the papers; Connor 1987 for McNemar's test",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("discordant", 0.2, "Share of test examples that one of two encoders alone gets right.", type=float),
        Option("power", 0.8, "Probability of finding the difference.", type=float),
        EXCLUDE,
        MISSING,
    ),
)
