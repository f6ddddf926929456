"""Accuracy by superclass: the mean over its classes of the accuracy in each, a few encoders side by side.

Cole et al. 2022, Figure A3: on iNat21, an encoder pretrained on ImageNet is best on the animals that ImageNet knows.
Pitfall: a superclass of few classes moves with each of them; the interval is over its classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores import inside
from virb.scores.layout import EXCLUDE, prepare
from virb.scores.roles import roles
from virb.stats.granularity import group_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, task: str, groups: str, encoders: tuple[str, ...], exclude: tuple[str, ...]
) -> Tables:
    """A row an encoder and superclass."""
    import pandas as pd

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
    data = prepare(scores, notes, exclude=exclude, missing="keep")
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
    return Tables(
        {"": table.assign(task=task)},
        task=task,
        level=level,
        encoders=chosen,
        roles=dict(roles(data.frame).loc[chosen]),
        n_images=None if n_images is None else int(n_images.sum()),
        note=data.note,
    )


def _wide(tables: Tables) -> DataFrame:
    return tables[""].pivot(index=tables.facts["level"], columns="encoder", values="accuracy")[tables.facts["encoders"]]


def say(tables: Tables) -> list[str]:
    wide = _wide(tables)
    best = wide.idxmax(axis=1)
    return [", ".join(f"{name} is best on {int((best == name).sum())}" for name in wide) + f" of {len(wide)} groups"]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    level, chosen = facts["level"], facts["encoders"]
    chosen_groups = plots.choose(
        _wide(tables).mean(axis=1).sort_values(ascending=False, kind="stable").index, most=50, what=f"values of {level}"
    )
    place_of = chosen_groups.names
    shades = plots.palette(chosen, facts["roles"])
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
        n = "" if facts["n_images"] is None else f", n = {facts['n_images']} test images"
        note = f"{facts['task']}{n}; mean over classes, their number in brackets. Lines: 95% Student interval over classes. {chosen_groups.note}{facts['note']}"
        plots.titles(fig, f"Accuracy by {level}", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="superclasses",
    summary="Accuracy by superclass, a few encoders side by side",
    source="Cole et al. 2022, Figure A3",
    compute=compute,
    draw=draw,
    say=say,
    options=(
        Option("task", "", "Task whose classes are grouped."),
        Option("groups", "", "CSV with the column class and a column with its superclass."),
        Option("encoders", (), "Up to six encoders, commas between; the three best if not given.", type=comma_list),
        EXCLUDE,
    ),
)
