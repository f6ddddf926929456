"""Hardest and easiest classes of each encoder, and how hard they are for the others.

Cole et al. 2022, Figure A5: do representations find the same classes hard? The scalar is Spearman's correlation of
per-class accuracies between encoders.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores import inside
from virb.scores.layout import EXCLUDE, prepare
from virb.stats.granularity import extreme_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_COMPARED = 1_000  # encoders, each of which is compared with each: two million rows
BEST_COMPARED = 500  # of more


def compute(
    scores: DataFrame, notes: Notes, *, task: str, encoders: tuple[str, ...], share: float, exclude: tuple[str, ...]
) -> Tables:
    """The extreme classes of every encoder; ``classes``: all accuracies, an encoder a column."""
    data = prepare(scores, notes, exclude=exclude, missing="keep")
    unknown = [name for name in encoders if name not in data.wide.index]
    if unknown or (task and task not in data.wide):
        raise UsageError(f"{unknown[0] if unknown else task!r} is not among the scores.")
    task, accuracies, _ = inside.accuracies(scores, data.frame, task)
    accuracies = accuracies[[name for name in accuracies if name in data.wide.index]]
    if accuracies.shape[1] < 2 or len(accuracies) < 3:
        raise NotApplicable("It needs a task that predicts one of at least 3 classes, with predictions of 2 encoders.")
    best = list(data.wide.loc[list(accuracies.columns), task].sort_values(ascending=False, kind="stable").index)
    pair = list(encoders) or best[:2]
    if len(pair) != 2:
        raise UsageError("encoders= takes two encoders, with a comma between.")
    compared = accuracies
    if accuracies.shape[1] > MOST_COMPARED:
        of = {*best[:BEST_COMPARED], *pair}
        compared = accuracies[[name for name in accuracies if name in of]]
        notes.say(
            f"of {accuracies.shape[1]:,} encoders the best {BEST_COMPARED} on {task} are compared pair by pair; the table of classes "
            "has all (for others --select them)"
        )
    extremes = extreme_classes(compared, share=share)
    return Tables(
        {"": extremes.assign(task=task), "classes": accuracies.rename_axis("class").reset_index()},
        task=task,
        pair=pair,
        note=data.note,
    )


def _accuracies(tables: Tables) -> DataFrame:
    """Classes x encoders."""
    table = tables["classes"]
    return table.iloc[:, 1:].set_axis(table.iloc[:, 0].to_numpy(), axis=0)


def say(tables: Tables) -> list[str]:
    import numpy as np

    rho = _accuracies(tables).rank().corr()
    values = rho.to_numpy()[np.triu_indices(len(rho), 1)]
    return [
        f"{tables.facts['task']}: Spearman of per-class accuracies between encoders {np.nanmean(values):.2f} on average "
        f"({np.nanmin(values):.2f} to {np.nanmax(values):.2f}, {len(rho)} encoders)"
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    accuracies, pair, extremes = _accuracies(tables), tables.facts["pair"], tables[""]
    with plots.style():
        fig = plots.figure(plots.PAGE * 0.75, 2.4)
        panels = fig.subplots(1, 2, sharey=True)
        n = int(extremes["n"].iloc[0])
        for axes, (left, right) in zip(panels, (pair, pair[::-1]), strict=True):
            order = accuracies[left].sort_values(kind="stable").index
            for chosen, colour in ((order[:n], plots.OKABE_ITO[5]), (order[-n:], plots.OKABE_ITO[0])):
                for name in chosen:
                    axes.plot(
                        [0, 1],
                        accuracies.loc[name, [left, right]],
                        "-o",
                        color=colour,
                        linewidth=0.8,
                        markersize=2.5,
                        alpha=0.75,
                    )
                if n <= 3:
                    places = _apart([float(accuracies.loc[name, right]) for name in chosen])
                    for name, y in zip(chosen, places, strict=True):
                        axes.text(1.05, y, str(name), fontsize=5.5, va="center", color=colour)
            axes.set_xticks([0, 1], [left, right], fontsize=6)
            axes.set_xlim(-0.25, 1.9 if n <= 3 else 1.25)
            axes.set_ylim(-0.04, 1.04)
            axes.grid(axis="y")
            axes.set_title(f"chosen by {left}", fontsize=6.5)
        panels[0].set_ylabel("accuracy of the class")
        handles = [
            plots.Patch(facecolor=plots.OKABE_ITO[5], label=f"hardest {n}"),
            plots.Patch(facecolor=plots.OKABE_ITO[0], label=f"easiest {n}"),
        ]
        r = accuracies[pair].rank().corr().iloc[0, 1]
        note = f"{tables.facts['task']}: {len(accuracies)} classes; Spearman between the two {r:.2f}. Extremes move towards the middle by chance alone. {tables.facts['note']}"
        plots.titles(fig, "Are the same classes hard?", note, handles=handles)
    return {"": fig}


def _apart(values: list[float], gap: float = 0.055) -> list[float]:
    """Positions of labels at least ``gap`` from one another, in the order of the values."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    out = list(values)
    for before, k in itertools.pairwise(order):
        out[k] = max(out[k], out[before] + gap)
    return out


ANALYSIS = Analysis(
    name="hard-classes",
    summary="Hardest and easiest classes of each encoder, and how hard they are for the others",
    source="Cole et al. 2022, Figure A5",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("task", "", "Task; the first that predicts one class an example if not given."),
        Option("encoders", (), "The two encoders drawn; the two best if not given.", type=comma_list),
        Option("share", 0.05, "Share of the classes at each end (at least one class).", type=float),
        EXCLUDE,
    ),
)
