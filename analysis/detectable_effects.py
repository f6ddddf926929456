"""The smallest difference each comparison could have found: what "not significant" is worth.

For every task: the difference between two encoders that McNemar's test finds four times in five, from the number of
test examples; and what the seeds of the probe allow. For the whole study: the smallest correlation over its encoders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.scores.layout import EXCLUDE, MISSING, as_counts, prepare
from virb.stats.effects import detectable_correlation, detectable_mean_difference
from virb.stats.permutation import detectable_difference

if TYPE_CHECKING:
    from pandas import DataFrame

OF_EXAMPLES = ("top1", "top-1", "top-1 accuracy")


def run(
    scores: DataFrame, out: Outputs, *, discordant: float, power: float, exclude: tuple[str, ...], missing: str
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    rows = []
    for task in data.wide.columns:
        part = data.frame[data.frame["task"] == task]
        gap = float(data.wide[task].max() - data.wide[task].median())
        sample = seeds = np.nan
        is_top1 = "metric" not in part or str(part["metric"].iloc[0]).lower() in OF_EXAMPLES
        n_test = as_counts(part["n_test"], "n_test", out.lines).dropna() if "n_test" in part else ()
        if is_top1 and len(n_test) == len(part):
            sample = detectable_difference(int(n_test.min()), discordant, power=power)
        cells = part.groupby("encoder")["score"]
        counts = cells.count()
        df = int((counts - 1).clip(lower=0).sum())
        if df > 0:
            sd = float(np.sqrt((cells.var(ddof=1).fillna(0) * (counts - 1)).sum() / df))
            seeds = detectable_mean_difference(sd * np.sqrt(2 / counts.mean()), df, power=power)
        rows.append((task, data.categories[task], gap, sample, seeds))
    table = pd.DataFrame(rows, columns=["task", "category", "best_less_median", "by_test_sample", "by_seeds"])
    out.table(table)
    n = len(data.wide)
    smallest = detectable_correlation(n, power=power) if n > 3 else np.nan
    out.say(
        f"correlations over n = {n} encoders: |r| from {smallest:.2f} is found with probability {power:g} at p < .05"
        if n > 3
        else f"over n = {n} encoders no correlation can be found"
    )
    if table[["by_test_sample", "by_seeds"]].isna().to_numpy().all():
        raise NotApplicable(
            "It needs the number of test examples (column n_test, as results folders have) or several seeds to say "
            "what "
            "difference could be found."
        )
    below = table[table["best_less_median"] < table[["by_test_sample", "by_seeds"]].max(axis=1)]
    out.say(f"on {len(below)} of {len(table)} tasks the best is not further from the median than what can be found")
    with plots.style():
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(table)))
        axes = fig.add_subplot()
        colours = plots.task_colours(data.categories, table["task"])
        plots.bars(axes, list(table["task"]), list(table["best_less_median"]), colours)
        handles = plots.category_handles(data.categories)
        for column, marker, label in (("by_test_sample", "D", "test sample"), ("by_seeds", "|", "seeds")):
            if table[column].notna().any():
                (line,) = axes.plot(table[column], range(len(table)), linestyle="", marker=marker, markersize=3.5 if marker == "D" else 6,
                                    color=plots.BLACK, markerfacecolor="white", markeredgewidth=0.8, label=f"detectable: {label}")  # fmt: skip
                handles.append(line)
        axes.set_xlabel("score: best encoder less the median one")
        note = f"n = {n} encoders; marks: difference found with power {power:g} at p < .05; test sample: McNemar with "
        note += f"{discordant:.0%} of examples discordant. {data.note}"
        plots.titles(fig, "Differences that could be found", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="detectable-effects",
    summary="The smallest differences and correlations that the study could have found",
    source="beyond the papers; Connor 1987 for McNemar's test",
    run=run,
    min_encoders=2,
    options=(
        Option("discordant", 0.2, "Share of test examples that one of two encoders alone gets right.", type=float),
        Option("power", 0.8, "Probability of finding the difference.", type=float),
        EXCLUDE,
        MISSING,
    ),
)
