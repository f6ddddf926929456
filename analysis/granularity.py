"""Accuracy when labels are merged into their ancestors, plain and corrected for chance.

Cole et al. 2022, Figure 5: how much of an encoder's error lies inside coarse classes. The argmax is mapped to its
ancestor; no head is trained again. Coarser labels are easier by chance alone, which kappa takes out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, names_in_words
from virb.errors import UsageError
from virb.records.predictions import class_names, labels, read_predictions
from virb.scores.layout import EXCLUDE, prepare
from virb.scores.roles import roles
from virb.stats.granularity import level_accuracy

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, task: str, hierarchy: str, exclude: tuple[str, ...]) -> None:
    import pandas as pd

    from virb.figures import plots

    if not hierarchy:
        raise NotApplicable("It needs the classes' ancestors: --option hierarchy=FILE.csv --option task=TASK.")
    path = Path(hierarchy)
    if not path.exists() or path.is_dir():
        raise UsageError(
            f"There is no file {path}. Expected a CSV with the column class and one column a level, fine to coarse."
        )
    tree = pd.read_csv(path, dtype=str)
    if "class" not in tree or tree.shape[1] < 2 or tree.isna().to_numpy().any() or tree["class"].duplicated().any():
        raise UsageError(f"{path} needs a column class (each once) and at least one level column, without empty cells.")
    data = prepare(scores, out.lines, exclude=exclude, missing="keep")
    if task not in data.wide:
        raise UsageError(
            f"task={task!r} is no task of the scores; they have {names_in_words(list(data.wide.columns))}."
        )
    predictions = read_predictions(scores.attrs["results"], data.frame, task)
    names = class_names(task, len(tree))
    place = tree.set_index("class")
    absent = [name for name in names if name not in place.index]
    if absent:
        raise UsageError(f"{path} says nothing about the classes {names_in_words(absent)} of {task}.")
    levels = {"class": names, **{column: list(place.loc[names, column]) for column in place.columns}}
    rows = []
    for encoder, arrays in predictions.items():
        target, prediction = labels(arrays, task)
        rows.append(level_accuracy(target, prediction, levels).assign(encoder=encoder))
    table = pd.concat(rows, ignore_index=True)
    out.table(table.assign(task=task))
    for level, part in table.groupby("level", sort=False):
        best = part.loc[part["kappa"].idxmax()]
        out.say(
            f"{level} ({int(best['n_classes'])} classes): best {best['encoder']}, accuracy {best['accuracy']:.3f}, "
            f"kappa {best['kappa']:.3f}"
        )
    order = list(table[table["level"] == "class"].sort_values("accuracy", ascending=False)["encoder"])
    of = roles(data.frame)
    shown = order[:6]
    colours = dict(zip(shown, plots.OKABE_ITO, strict=False))
    colours.update({name: plots.BLACK for name in order if of[name] == "supervised"})
    with plots.style():
        fig = plots.figure(plots.PAGE * 0.75, 1.9)
        panels = fig.subplots(1, 2)
        sizes = table.drop_duplicates("level")
        for axes, column, title in (
            (panels[0], "accuracy", "accuracy"),
            (panels[1], "kappa", "corrected for chance (kappa)"),
        ):
            for name in order[::-1]:
                part = table[table["encoder"] == name]
                axes.plot(range(len(part)), part[column], "-o", color=colours.get(name, plots.LIGHT), markersize=2.5)
                if column == "accuracy" and name in colours:
                    axes.fill_between(
                        range(len(part)), part["low"], part["high"], color=colours[name], alpha=0.15, linewidth=0
                    )
            axes.set_xticks(
                range(len(sizes)), [f"{row.level}\n({row.n_classes})" for row in sizes.itertuples()], fontsize=6
            )
            axes.set_title(title)
            axes.grid(axis="y")
        n = len(next(iter(predictions.values()))["ids"])
        note = f"{task}, n = {n} test images; bands: 95% Wilson; grey: other encoders. {data.note}"
        plots.titles(fig, "Accuracy at coarser labels", note, handles=plots.colour_handles(dict(colours)))
    out.figure(fig)


ANALYSIS = Analysis(
    name="granularity",
    summary="Accuracy when labels are merged into their ancestors, plain and corrected for chance",
    source="Cole et al. 2022, Figure 5",
    run=run,
    needs=("seed", "probe"),
    needs_predictions=True,
    options=(
        Option("task", "", "Task whose labels are merged."),
        Option("hierarchy", "", "CSV with the column class and one column a level, fine to coarse."),
        EXCLUDE,
    ),
)
