"""Accuracy when labels are merged into their ancestors, plain and corrected for chance.

Cole et al. 2022, Figure 5: how much of an encoder's error lies inside coarse classes. The argmax is mapped to its
ancestor; no head is trained again. Coarser labels are easier by chance alone, which kappa takes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.contracts.tree import FINEST
from virb.errors import UsageError
from virb.records.predictions import class_names, labels, read_predictions
from virb.scores import inside
from virb.scores.layout import EXCLUDE, prepare
from virb.scores.roles import roles
from virb.stats.granularity import level_accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes, *, task: str, hierarchy: str, exclude: tuple[str, ...]) -> Tables:
    """A row an encoder and level."""
    import pandas as pd

    published = None if hierarchy else inside.by_level(scores, task)
    if published is not None:
        task, table = published
        data = prepare(inside.finest(scores), notes, exclude=exclude, missing="keep")
        table = table[table["encoder"].isin(data.wide.index)]
        n = data.frame.loc[data.frame["task"] == task, "n_test"].dropna() if "n_test" in data.frame else []
        return _tables(table, task, roles(data.frame), int(n.iloc[0]) if len(n) else None, data.note)
    if not hierarchy or not scores.attrs.get("results"):
        raise NotApplicable(
            "It needs a task with a label tree, a table with a column level, or the classes' ancestors beside a results "
            "folder: --option hierarchy=FILE.csv --option task=TASK."
        )
    path = Path(hierarchy)
    if not path.exists() or path.is_dir():
        raise UsageError(
            f"There is no file {path}. Expected a CSV with the column class and one column a level, fine to coarse."
        )
    tree = pd.read_csv(path, dtype=str)
    if "class" not in tree or tree.shape[1] < 2 or tree.isna().to_numpy().any() or tree["class"].duplicated().any():
        raise UsageError(f"{path} needs a column class (each once) and at least one level column, without empty cells.")
    data = prepare(scores, notes, exclude=exclude, missing="keep")
    if task not in data.wide:
        raise UsageError(
            f"task={task!r} is no task of the scores; they have {names_in_words(list(data.wide.columns))}."
        )
    predictions = read_predictions(scores.attrs["results"], data.frame, task)
    names = class_names(task, len(tree), results=scores.attrs["results"], frame=data.frame)
    levels = {FINEST: names, **inside.levels_of(tree, names, str(path))}
    rows = []
    for encoder, arrays in predictions.items():
        target, prediction = labels(arrays, task)
        rows.append(level_accuracy(target, prediction, levels).assign(encoder=encoder))
    n_images = len(next(iter(predictions.values()))["ids"])
    return _tables(pd.concat(rows, ignore_index=True), task, roles(data.frame), n_images, data.note)


def _tables(table: DataFrame, task: str, of: Mapping[str, str], n_images: int | None, note: str) -> Tables:
    supervised = [name for name in dict.fromkeys(table["encoder"]) if of[name] == "supervised"]
    return Tables({"": table.assign(task=task)}, task=task, n_images=n_images, supervised=supervised, note=note)


def say(tables: Tables) -> list[str]:
    lines = []
    for level, part in tables[""].groupby("level", sort=False):
        best = part.loc[part["kappa" if part["kappa"].notna().any() else "accuracy"].idxmax()]
        size = f" ({int(best['n_classes'])} classes)" if best["n_classes"] == best["n_classes"] else ""
        kappa = f", kappa {best['kappa']:.3f}" if best["kappa"] == best["kappa"] else ""
        lines.append(f"{level}{size}: best {best['encoder']}, accuracy {best['accuracy']:.3f}{kappa}")
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    order = list(table[table["level"] == table["level"].iloc[0]].sort_values("accuracy", ascending=False)["encoder"])
    shown = order[:6]
    colours = dict(zip(shown, plots.OKABE_ITO, strict=False))
    colours.update({name: plots.BLACK for name in order if name in facts["supervised"]})
    with plots.style():
        fig = plots.figure(plots.PAGE * 0.75, 1.9)
        sizes = table.drop_duplicates("level")
        columns = {"accuracy": "accuracy"}
        if table["kappa"].notna().any():
            columns["kappa"] = "corrected for chance (kappa)"
        panels = fig.subplots(1, len(columns), squeeze=False)[0]
        for axes, (column, title) in zip(panels, columns.items(), strict=True):
            for name in order[::-1]:
                part = table[table["encoder"] == name]
                axes.plot(range(len(part)), part[column], "-o", color=colours.get(name, plots.LIGHT), markersize=2.5)
                if column == "accuracy" and name in colours:
                    axes.fill_between(
                        range(len(part)), part["low"], part["high"], color=colours[name], alpha=0.15, linewidth=0
                    )
            axes.set_xticks(
                range(len(sizes)),
                [
                    f"{row.level}\n({row.n_classes:.0f})" if row.n_classes > 0 else row.level
                    for row in sizes.itertuples()
                ],
                fontsize=6,
            )
            axes.set_title(title)
            axes.grid(axis="y")
        known = f", n = {facts['n_images']:.0f} test images" if facts["n_images"] else ""
        known += "; bands: 95% Wilson" if table["low"].notna().any() else ""
        note = f"{facts['task']}{known}; grey: other encoders. {facts['note']}"
        plots.titles(fig, "Accuracy at coarser labels", note, handles=plots.colour_handles(dict(colours)))
    return {"": fig}


ANALYSIS = Analysis(
    name="granularity",
    summary="Accuracy when labels are merged into their ancestors, plain and corrected for chance",
    source="Cole et al. 2022, Figure 5",
    compute=compute,
    draw=draw,
    say=say,
    options=(
        Option("task", "", "Task whose labels are merged; the first that has levels if not given."),
        Option("hierarchy", "", "CSV with the column class and one column a level, fine to coarse."),
        EXCLUDE,
    ),
)
