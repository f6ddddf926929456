"""Class by class: what one encoder gains and loses against another, most improved and most harmed.

Cole et al. 2022, Figure A4 and Table A1. With few test images a class the extremes are mostly luck: each class has
McNemar's exact p with its false discovery rate, and a delta shrunk towards the mean as far as its noise asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError
from virb.records.predictions import class_names, labels, read_predictions
from virb.scores import inside
from virb.scores.layout import EXCLUDE, prepare
from virb.scores.roles import roles
from virb.stats.granularity import class_deltas, published_deltas

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, task: str, a: str, b: str, groups: str, exclude: tuple[str, ...]
) -> Tables:
    """A row a class, the most improved first; ``groups``: means over the groups of a file."""
    data = prepare(scores, notes, exclude=exclude, missing="keep")
    for name in (a, b):
        if name and name not in data.wide.index:
            raise UsageError(f"There is no encoder {name!r}; the scores have {names_in_words(list(data.wide.index))}.")
    published = inside.by_class(scores, task)
    predictions: Mapping[str, Any] = {}
    if published is not None:
        task, accuracies, n = published
        known = [str(name) for name in accuracies if name in data.wide.index]
    else:
        if not scores.attrs.get("results"):
            raise NotApplicable("It needs predictions per example (a results folder), or a table with a column class.")
        task, predictions = _find(scores.attrs["results"], data.frame, task)
        known = list(predictions)
    order = data.wide.loc[known, task].sort_values(ascending=False, kind="stable").index
    if len(order) < 2:
        raise NotApplicable(f"Only one encoder has predictions on {task}.")
    of = roles(data.frame)
    b = b or str(order[0])
    supervised = [name for name in order if of[name] == "supervised" and name != b]
    a = a or str(supervised[0] if supervised else next(name for name in order if name != b))
    if published is not None:
        result = published_deltas(accuracies[a], accuracies[b], n=n)
    else:
        target, first = labels(predictions[a], task)
        _, second = labels(predictions[b], task)
        most = int(max(target.max(), first.max(), second.max())) + 1
        names = class_names(task, most, results=scores.attrs["results"], frame=data.frame)
        result = class_deltas(target, first, second, names=names)
    table = result.table
    tables = Tables(
        {"": table.assign(task=task, encoder_a=a, encoder_b=b)},
        task=task, a=a, b=b, rank_r=result.rank_r, note=data.note,
    )  # fmt: skip
    if groups:
        tables["groups"] = _by_group(table, groups)
    return tables


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    up, down = table["delta"] > 0, table["delta"] < 0
    ends = [f"{what}: {', '.join(part['class'].astype(str).head(5))}" for what, part in (
        ("most improved", table[up]), ("most harmed", table[down][::-1])
    ) if len(part)]  # fmt: skip
    tested = (
        f"{int((table['p_bh'] < 0.05).sum())} differ after Benjamini-Hochberg correction (in the median class a difference of "
        f"{table['detectable'].median():.2f} would be found four times in five, uncorrected)"
        if table["p_bh"].notna().any()
        else "a table of accuracies does not say which images, so no class is tested"
    )
    lines = [
        f"{facts['task']}, {facts['b']} less {facts['a']}: {up.mean():.0%} of {len(table)} classes improve, "
        f"{(~up & ~down).mean():.0%} stay, {down.mean():.0%} fall; {tested}",
        f"Spearman of the two lists of per-class accuracies: {facts['rank_r']:.2f}",
    ]
    lines += ["; ".join(ends)] if ends else []
    if "groups" in tables:
        part = tables["groups"]
        best = part.iloc[0]
        lines.append(
            f"by {part.columns[0]}: most gained by {best.iloc[0]} ({best['delta']:+.3f}, {best['improved']:.0%} of "
            f"{best['n_classes']:.0f} classes improve)"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    what = f"accuracy: {facts['b']} less {facts['a']}"
    with plots.style():
        few = len(table) <= 30
        fig = plots.figure(plots.COLUMN, plots.bars_height(len(table)) if few else 2.0)
        axes = fig.add_subplot()
        colours = [plots.OKABE_ITO[0] if d >= 0 else plots.OKABE_ITO[5] for d in table["delta"]]
        if few:
            labels_ = [
                f"{name}{' *' if q < 0.05 else ''}" for name, q in zip(table["class"], table["p_bh"], strict=True)
            ]
            plots.bars(axes, labels_, list(table["delta"]), colours)
            axes.plot(table["shrunk"], range(len(table)), "|", color=plots.BLACK, markersize=5)
            axes.set_xlabel(what)
        else:
            axes.fill_between(np.arange(len(table)), table["delta"], color=plots.OKABE_ITO[0], alpha=0.35, linewidth=0)
            axes.plot(np.arange(len(table)), table["shrunk"], color=plots.BLACK, linewidth=1.0)
            axes.axhline(0, color=plots.BLACK, linewidth=0.6)
            axes.set_xlabel("classes, most improved first")
            axes.set_ylabel(what)
        note = f"{facts['task']}: {len(table)} classes"
        if table["n"].notna().all():
            note += f", {int(table['n'].sum())} test images (median {int(table['n'].median())} a class)"
        note += ". "
        if table["shrunk"].notna().any():
            note += ("Ticks" if few else "Line") + ": shrunk for noise. "
        if few and table["p_bh"].notna().any():
            note += "* p < .05, Benjamini-Hochberg. "
        note += f"{facts['note']}"
        plots.titles(fig, f"Class by class: {facts['b']} against {facts['a']}", note)
    return {"": fig}


def _by_group(table: DataFrame, path: str) -> DataFrame:
    """Mean accuracies and the share of classes that improve, for each value of a file's second column."""
    import pandas as pd

    if not Path(path).exists():
        raise UsageError(f"There is no file {path}. Expected a CSV with the column class and one with their group.")
    given = pd.read_csv(path, dtype=str)
    if "class" not in given or given.shape[1] < 2 or given["class"].duplicated().any():
        raise UsageError(f"{path} needs a column class (each once) and a column with the class's group.")
    level = next(name for name in given if name != "class")
    group = table["class"].astype(str).map(given.set_index("class")[level])
    if group.isna().any():
        absent = list(table.loc[group.isna(), "class"])
        raise UsageError(f"{path} says nothing about the classes {names_in_words(absent)}.")
    joined = table.assign(**{level: group, "improved": table["delta"] > 0, "n_classes": 1})
    means = joined.groupby(level)[["accuracy_a", "accuracy_b", "delta", "improved"]].mean()
    means["n_classes"] = joined.groupby(level)["n_classes"].sum()
    means["n_improved"] = joined.groupby(level)["improved"].sum()
    means["share_of_improved"] = means["n_improved"] / max(int(means["n_improved"].sum()), 1)
    return means.sort_values("delta", ascending=False, kind="stable").reset_index()


def _find(results: str, frame: DataFrame, task: str):  # type: ignore[no-untyped-def]
    """The task asked for, or the first whose predictions are classes; with its predictions."""
    tasks = list(dict.fromkeys(frame["task"]))
    if task and task not in tasks:
        raise UsageError(f"There is no task {task!r}; the scores have {names_in_words(tasks)}.")
    for name in [task] if task else tasks:
        predictions = read_predictions(results, frame, name)
        try:
            for arrays in predictions.values():
                labels(arrays, name)
        except ScoresError:
            if task:
                raise
            continue
        return name, predictions
    raise NotApplicable("No task predicts one class an example.")


ANALYSIS = Analysis(
    name="class-deltas",
    summary="What one encoder gains and loses against another, class by class",
    source="Cole et al. 2022, Figures A3 and A4, Table A1",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("task", "", "Task; the first that predicts one class an example if not given."),
        Option("a", "", "Encoder to compare with; the supervised one, else the second best."),
        Option("b", "", "Encoder compared; the best if not given."),
        Option(
            "groups", "", "CSV with the columns class and a group: means by group of classes (superclass, attribute)."
        ),
        EXCLUDE,
    ),
)
