"""One setting of pretraining changed and all else equal: the change in score, task by task.

Cole et al. 2022, Table A2: pretraining on resized images (short side 256) against native ones. Any column of the
encoder will do: every encoder is paired with those that differ in it alone. Pitfall: one pair has no interval, and a
change on one task of many is found by luck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.families import FAMILY, declared_families
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import difference_scale
from virb.stats.comparisons import pairs_alike_but, setting_changes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
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


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    column: str,
    baseline: str,
    but: tuple[str, ...],
    family: str,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Mean change on each task and value; ``pairs``: every pair's. Pairs of one family are averaged to one."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    if column not in about:
        raise NotApplicable(
            f"It compares encoders that differ in the column {column!r} alone, which the scores do not have; choose "
            "another with --option column=NAME."
        )
    if about[column].isna().all():
        raise NotApplicable(f"No encoder has a value of {column}; choose another column with --option column=NAME.")
    repeat = about["repeat"] if "repeat" in about else pd.Series(pd.NA, index=about.index)
    # What a run leaves behind beside its settings is no setting: an identity, how long it took, on what.
    about = about.drop(columns=[name for name in (*RUN_WORDS, *but) if name in about and name != column]).apply(_plain)
    families = declared_families(data.frame, list(about.index), notes, column=family, besides=[column, "method"])
    of = dict(zip(about.index, families.labels or about.index, strict=True))
    about, wide = _averaged(about, data.wide, repeat, column, notes)
    # What several encoders were averaged to is of their families together.
    of |= {
        name: "\n".join(sorted({str(of[part]) for part in str(name).split(" + ")}))
        for name in about.index
        if name not in of
    }
    values = list(dict.fromkeys(about[column].dropna()))
    baseline = baseline or next((value for value in values if value.lower() in ("no", "none", "false")), values[0])
    if baseline not in values:
        raise UsageError(f"baseline={baseline!r}: the values of {column} are {names_in_words(values)}.")
    pairs = pairs_alike_but(about, column, baseline)
    if pairs.empty:
        raise NotApplicable(f"No two encoders differ in {column} alone, one of them having {baseline!r}.")
    # A pair whose ends are of two families is of both.
    pairs["family"] = [
        "\n".join(sorted({str(of[a]), str(of[b])})) if families.labels else str(k)
        for k, (a, b) in enumerate(zip(pairs["encoder"], pairs["base"], strict=True))
    ]
    tables = []
    for value, part in pairs.groupby("value", sort=False):
        for task in wide.columns:  # one by one: a score that is missing costs its pair on its task alone
            known = wide[[task]].dropna()
            there = part[part["encoder"].isin(known.index) & part["base"].isin(known.index)]
            if len(there):
                tables.append(setting_changes(known, there).assign(value=value))
    if not tables:
        raise NotApplicable("No pair has both scores on any task.")
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "column", column)
    table.insert(1, "baseline", baseline)
    each = [
        (row.encoder, row.base, row.value, task, wide.loc[row.encoder, task] - wide.loc[row.base, task])
        for row in pairs.itertuples()
        for task in wide.columns
    ]
    single = pd.DataFrame(each, columns=["encoder", "base", "value", "task", "change"]).dropna(subset=["change"])
    factor, scale = difference_scale(data.frame, data.wide)
    return Tables(
        {"": table, "pairs": single},
        column=column,
        baseline=baseline,
        tasks=dict(data.categories),
        counted=f"pairs of one of {families.n} families ({families.column}) averaged to one"
        if families.labels
        else families.warning,
        to_one_scale=dict(factor),
        scale=scale,
        note=data.note,
    )


def _averaged(
    about: DataFrame, wide: DataFrame, repeat: Series, column: str, notes: Notes
) -> tuple[DataFrame, DataFrame]:
    """Encoders that are repeats of one another (by the column repeat, or alike in every setting) as one, their scores
    averaged: pairs that share an encoder, or its settings, are not independent. Columns in which repeats differ are no
    settings."""
    same = about.fillna("").agg("\n".join, axis=1)
    key = same.where(repeat.isna(), "repeat\n" + about[column].fillna("") + "\n" + repeat.astype(str))
    if key.nunique() == len(key):
        return about, wide
    differing = [name for name in about if name != column and (about[name].fillna("").groupby(key).nunique() > 1).any()]
    names = key.groupby(key, sort=False).agg(lambda part: " + ".join(map(str, part.index)))
    merged = names[key.groupby(key, sort=False).size() > 1]
    notes.say(
        f"repeats of one another, averaged to one each: {names_in_words(list(merged), 4)}"
        + (f"; {names_in_words(differing)} differ{'s' * (len(differing) == 1)} between them" if differing else "")
    )
    settings = about.drop(columns=differing).groupby(key, sort=False).first()
    scores = wide.groupby(key.loc[wide.index], sort=False).mean()
    return settings.rename(index=names), scores.rename(index=names)


def say(tables: Tables) -> list[str]:
    table, single, facts = tables[""], tables["pairs"], tables.facts
    lines = []
    factor = single["task"].map(facts["to_one_scale"])
    for value, part in table.groupby("value", sort=False):
        change = (single["change"] * factor)[single["value"] == value]
        clear = part["low"].notna() & ((part["low"] > 0) | (part["high"] < 0))
        lines.append(
            f"{facts['column']} {value} less {facts['baseline']}: {change.mean():+.4f} on average, {change.min():+.4f} to "
            f"{change.max():+.4f} over {int(part['n_pairs'].max())} pairs and {len(part)} tasks, {facts['scale']}; "
            + (
                f"the 95% interval leaves out 0 on {int(clear.sum())} (without a change: about {0.05 * part['low'].notna().sum():.2g})"
                if part["low"].notna().any()
                else "no interval from one"
            )
            + f"; {facts['counted']}" * bool(facts["counted"])
        )
        found = part["detectable"] * part["task"].map(facts["to_one_scale"])
        if found.notna().any():
            lines.append(f"  found four times in five: changes from {found.median():.4f} (median over tasks)")
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    facts = tables.facts
    most = max(8, 60 // max(1, tables[""]["value"].nunique()))
    order = tables[""].groupby("task")["change"].mean().sort_values(ascending=False, kind="stable").index
    order = [*order, *(task for task in facts["tasks"] if task not in set(order))]
    chosen = plots.choose(order, most=most, what="tasks", drawn_as=facts["tasks"])
    tasks = chosen.names
    factor = facts["to_one_scale"]
    table, single = tables[""].copy(), tables["pairs"].copy()
    for name in ("change", "low", "high"):
        table[name] *= table["task"].map(factor)
    single["change"] *= single["task"].map(factor)
    shades = dict(zip(dict.fromkeys(table["value"]), [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 4, strict=False))
    with plots.style():
        groups = list(table.groupby("value", sort=False))
        fig = plots.figure(plots.width_for(chosen.names), 0.42 + 0.15 * len(tasks) * max(1.0, 0.6 * len(groups)))
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
            if category := facts["tasks"][task]:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        axes.set_ylim(len(tasks) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        is_z = facts["scale"].startswith("in sd")
        axes.set_xlabel(f"change in score{' (sd of the task)' * is_z} (less {facts['column']} {facts['baseline']})")
        counts = ", ".join(f"{value} {int(part['n_pairs'].max())}" for value, part in groups)
        lines = " Lines: 95% Student interval over pairs." if table["low"].notna().any() else " One pair: no interval."
        note = f"Pairs of encoders alike in all else: {counts}; {facts['scale']}. Dots: pairs; ticks: mean.{lines} {chosen.note}{facts['note']}"
        handles = plots.colour_handles({f"{facts['column']} {value}": colour for value, colour in shades.items()})
        plots.titles(fig, f"Change in score with {facts['column']}", note, handles=handles)
    return {"": fig}


def _plain(column: Series) -> Series:
    return as_words(column).where(column.notna())


ANALYSIS = Analysis(
    name="setting-change",
    summary="One setting of pretraining changed and all else equal, such as resized against native images",
    source="Cole et al. 2022, Table A2",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("column", "resized", "Column of the encoder in which the two of a pair differ."),
        Option("baseline", "", "Its value that others are compared with; no, none or false, else the first."),
        FAMILY,
        Option(
            "but", (), "Further columns in which the two of a pair may differ, with commas between.", type=comma_list
        ),
        EXCLUDE,
        MISSING,
    ),
)
