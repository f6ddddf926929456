"""One setting of pretraining changed and all else equal: the change in score, task by task.

Cole et al. 2022, Table A2: pretraining on resized images (short side 256) against native ones. Any column of the
encoder will do: every encoder is paired with those that differ in it alone. Pitfall: one pair has no interval, and a
change on one task of many is found by luck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import of_one_unit
from virb.stats.comparisons import pairs_alike_but, setting_changes

if TYPE_CHECKING:
    from pandas import DataFrame, Series


#: Columns of a run that two runs of equal settings differ in.
RUN_WORDS = (
    "run",
    "encoder_digest",
    "data_revision",
    "subset_sha256",
    "repeat",
    "family",
    "seconds",
    "device",
    "torch",
    "virb",
    "sha256",
    "source",
    "title",
)


def run(
    scores: DataFrame,
    out: Outputs,
    *,
    column: str,
    baseline: str,
    but: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    if column not in about:
        raise NotApplicable(
            f"It compares encoders that differ in the column {column!r} alone, which the scores do not have; choose "
            "another with --option column=NAME."
        )
    if about[column].isna().all():
        raise NotApplicable(f"No encoder has a value of {column}; choose another column with --option column=NAME.")
    # What a run leaves behind beside its settings is no setting: an identity, how long it took, on what.
    about = about.drop(columns=[name for name in (*RUN_WORDS, *but) if name in about and name != column]).apply(_plain)
    values = list(dict.fromkeys(about[column].dropna()))
    baseline = baseline or next((value for value in values if value.lower() in ("no", "none", "false")), values[0])
    if baseline not in values:
        raise UsageError(f"baseline={baseline!r}: the values of {column} are {names_in_words(values)}.")
    pairs = pairs_alike_but(about, column, baseline)
    if pairs.empty:
        raise NotApplicable(f"No two encoders differ in {column} alone, one of them having {baseline!r}.")
    tables = []
    for value, part in pairs.groupby("value", sort=False):
        for task in data.wide.columns:  # one by one: a score that is missing costs its pair on its task alone
            known = data.wide[[task]].dropna()
            there = part[part["encoder"].isin(known.index) & part["base"].isin(known.index)]
            if len(there):
                tables.append(setting_changes(known, there).assign(value=value))
    if not tables:
        raise NotApplicable("No pair has both scores on any task.")
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "column", column)
    table.insert(1, "baseline", baseline)
    out.table(table)
    each = [
        (row.encoder, row.base, row.value, task, data.wide.loc[row.encoder, task] - data.wide.loc[row.base, task])
        for row in pairs.itertuples()
        for task in data.wide.columns
    ]
    single = pd.DataFrame(each, columns=["encoder", "base", "value", "task", "change"]).dropna(subset=["change"])
    out.table(single, "pairs")
    for value, part in table.groupby("value", sort=False):
        one_unit = set(of_one_unit(data.frame, data.wide, out.lines))
        change = single.loc[(single["value"] == value) & single["task"].isin(one_unit), "change"]
        if change.empty:
            continue
        clear = part["low"].notna() & ((part["low"] > 0) | (part["high"] < 0))
        out.say(
            f"{column} {value} less {baseline}: {change.mean():+.4f} on average, {change.min():+.4f} to "
            f"{change.max():+.4f} over {int(part['n_pairs'].max())} pairs and {len(part)} tasks; the 95% interval "
            f"leaves out 0 on {int(clear.sum())}"
        )
        if part["detectable"].notna().any():
            out.say(f"  found four times in five: changes from {part['detectable'].median():.4f} (median over tasks)")
    shades = dict(zip(dict.fromkeys(table["value"]), [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 4, strict=False))
    with plots.style():
        groups = list(table.groupby("value", sort=False))
        tasks = list(data.wide.columns)
        fig = plots.figure(plots.COLUMN, 0.42 + 0.15 * len(tasks) * max(1.0, 0.6 * len(groups)))
        axes = fig.add_subplot()
        for k, (value, part) in enumerate(groups):
            shift = (k - (len(groups) - 1) / 2) * 0.8 / len(groups)
            place = np.arange(len(tasks)) + shift
            part = part.set_index("task").reindex(tasks)
            own = single[single["value"] == value]
            for y, task in zip(place, tasks, strict=True):
                dots = own.loc[own["task"] == task, "change"]
                axes.scatter(dots, np.full(len(dots), y), s=7, color=shades[value], alpha=0.55, linewidth=0, zorder=3)
            axes.hlines(place, part["low"], part["high"], color=shades[value], linewidth=1.0)
            axes.plot(part["change"], place, "|", color=plots.BLACK, markersize=6, markeredgewidth=1.2, zorder=4)
        axes.axvline(0, color=plots.BLACK, linewidth=0.6)
        axes.set_yticks(range(len(tasks)), tasks)
        for label, task in zip(axes.get_yticklabels(), tasks, strict=True):
            category = data.categories[task]
            if category:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        axes.set_ylim(len(tasks) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(f"change in score (less {column} {baseline})")
        counts = ", ".join(f"{value} {int(part['n_pairs'].max())}" for value, part in groups)
        lines = " Lines: 95% Student interval over pairs." if table["low"].notna().any() else " One pair: no interval."
        note = f"Pairs of encoders alike in all else: {counts}. Dots: pairs; ticks: mean.{lines} {data.note}"
        handles = plots.colour_handles({f"{column} {value}": colour for value, colour in shades.items()})
        plots.titles(fig, f"Change in score with {column}", note, handles=handles)
    out.figure(fig)


def _plain(column: Series) -> Series:
    return as_words(column).where(column.notna())


ANALYSIS = Analysis(
    name="setting-change",
    summary="One setting of pretraining changed and all else equal, such as resized against native images",
    source="Cole et al. 2022, Table A2",
    run=run,
    min_encoders=2,
    options=(
        Option("column", "resized", "Column of the encoder in which the two of a pair differ."),
        Option("baseline", "", "Its value that others are compared with; no, none or false, else the first."),
        Option(
            "but", (), "Further columns in which the two of a pair may differ, with commas between.", type=comma_list
        ),
        EXCLUDE,
        MISSING,
    ),
)
