"""Accuracy by superclass: the mean over its classes of the accuracy in each, a few encoders side by side.

Cole et al. 2022, Figure A3: on iNat21, an encoder pretrained on ImageNet is best on the animals that ImageNet knows.
Pitfall: a superclass of few classes moves with each of them; the interval is over its classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.errors import UsageError
from virb.scores import inside
from virb.scores.layout import EXCLUDE, prepare
from virb.scores.roles import roles
from virb.stats.granularity import group_means

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame, out: Outputs, *, task: str, groups: str, encoders: tuple[str, ...], exclude: tuple[str, ...]
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    if not groups:
        raise NotApplicable("It needs the classes' superclasses: --option groups=FILE.csv --option task=TASK.")
    if not Path(groups).is_file():
        raise UsageError(
            f"There is no file {groups}. Expected a CSV with the column class and one with its superclass."
        )
    given = pd.read_csv(groups, dtype=str)
    if "class" not in given or given.shape[1] < 2 or given.isna().to_numpy().any() or given["class"].duplicated().any():
        raise UsageError(f"{groups} needs a column class (each once) and a column with its superclass, no cell empty.")
    level = next(name for name in given if name != "class")
    data = prepare(scores, out.lines, exclude=exclude, missing="keep")
    task, accuracies, n_images = inside.accuracies(scores, data.frame, task)
    known = [str(name) for name in accuracies if name in data.wide.index]
    unknown = [name for name in encoders if name not in known]
    if unknown or len(encoders) > 6:
        raise UsageError(f"encoders={','.join(encoders)}: expected up to 6 of {names_in_words(known, 12)}.")
    order = data.wide.loc[known, task].sort_values(ascending=False, kind="stable").index
    chosen = list(encoders) or [str(name) for name in order[:3]]
    of = inside.levels_of(given, [str(name) for name in accuracies.index], groups)[level]
    counts_of = None if n_images is None else n_images.to_numpy()
    rows = [group_means(accuracies[name].to_numpy(), of, n=counts_of).assign(encoder=name) for name in chosen]
    table = pd.concat(rows, ignore_index=True).rename(columns={"group": level})
    out.table(table.assign(task=task))
    wide = table.pivot(index=level, columns="encoder", values="accuracy")[chosen]
    best = wide.idxmax(axis=1)
    out.say(", ".join(f"{name} is best on {int((best == name).sum())}" for name in chosen) + f" of {len(wide)} groups")
    place_of = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index
    shades = plots.palette(chosen, roles(data.frame))
    with plots.style():
        longest = plots.text_width([f"{g} (00)" for g in place_of], 6.5)
        width_in = max(plots.COLUMN, min(plots.PAGE, 0.6 + 0.34 * len(place_of)))
        is_short = longest * len(place_of) < 0.75 * width_in
        fig = plots.figure(width_in, 1.35 + (0.1 if is_short else min(1.3, longest)))
        axes = fig.add_subplot()
        width = 0.8 / len(chosen)
        for k, name in enumerate(chosen):
            part = table[table["encoder"] == name].set_index(level).loc[place_of]
            x = np.arange(len(part)) + (k - (len(chosen) - 1) / 2) * width
            axes.bar(x, part["accuracy"], width=width * 0.92, color=shades[name], linewidth=0)
            axes.vlines(x, part["low"], part["high"], color=plots.BLACK, linewidth=0.6)
        counts = table.drop_duplicates(level).set_index(level)["n_classes"]
        ticks = [f"{g} ({counts[g]})" for g in place_of]
        axes.set_xticks(range(len(place_of)), ticks, rotation=0 if is_short else 90)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("accuracy")
        axes.set_ylim(0, None)
        axes.grid(axis="y")
        handles = [plots.Patch(facecolor=shades[name], label=name) for name in chosen]
        n = "" if n_images is None else f", n = {int(n_images.sum())} test images"
        note = f"{task}{n}; mean over classes, their number in brackets. Lines: 95% Student interval over classes. {data.note}"
        plots.titles(fig, f"Accuracy by {level}", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="superclasses",
    summary="Accuracy by superclass, a few encoders side by side",
    source="Cole et al. 2022, Figure A3",
    run=run,
    options=(
        Option("task", "", "Task whose classes are grouped."),
        Option("groups", "", "CSV with the column class and a column with its superclass."),
        Option("encoders", (), "Up to six encoders, commas between; the three best if not given.", type=comma_list),
        EXCLUDE,
    ),
)
