"""Hardest and easiest classes of each encoder, and how hard they are for the others.

Cole et al. 2022, Figure A5: do representations find the same classes hard? The scalar is Spearman's correlation of
per-class accuracies between encoders.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list
from virb.errors import ScoresError, UsageError
from virb.records.predictions import class_names, labels, read_predictions
from virb.scores.layout import EXCLUDE, prepare
from virb.stats.granularity import extreme_classes

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame, out: Outputs, *, task: str, encoders: tuple[str, ...], share: float, exclude: tuple[str, ...]
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing="keep")
    unknown = [name for name in encoders if name not in data.wide.index]
    if unknown or (task and task not in data.wide):
        raise UsageError(f"{unknown[0] if unknown else task!r} is not among the scores.")
    accuracies = None
    for name in [task] if task else list(data.wide.columns):
        try:
            accuracies = _per_class(read_predictions(scores.attrs["results"], data.frame, str(name)), str(name))
            task = str(name)
            break
        except ScoresError:
            if task:
                raise
    if accuracies is None or accuracies.shape[1] < 2 or len(accuracies) < 3:
        raise NotApplicable("It needs a task that predicts one of at least 3 classes, with predictions of 2 encoders.")
    best = list(data.wide.loc[list(accuracies.columns), task].sort_values(ascending=False, kind="stable").index[:2])
    pair = list(encoders) or best
    if len(pair) != 2:
        raise UsageError("encoders= takes two encoders, with a comma between.")
    extremes = extreme_classes(accuracies, share=share)
    rho = accuracies.rank().corr()
    out.table(extremes.assign(task=task))
    out.table(accuracies.rename_axis("class").reset_index(), "classes")
    values = rho.to_numpy()[np.triu_indices(len(rho), 1)]
    out.say(
        f"{task}: Spearman of per-class accuracies between encoders {np.nanmean(values):.2f} on average "
        f"({np.nanmin(values):.2f} to {np.nanmax(values):.2f}, {len(rho)} encoders)"
    )
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
        r = pd.Series(values).mean() if len(pair) != 2 else rho.loc[pair[0], pair[1]]
        note = f"{task}: {len(accuracies)} classes; Spearman between the two {r:.2f}. Extremes move towards the middle by chance alone. {data.note}"
        plots.titles(fig, "Are the same classes hard?", note, handles=handles)
    out.figure(fig)


def _apart(values: list[float], gap: float = 0.055) -> list[float]:
    """Positions of labels at least ``gap`` from one another, in the order of the values."""
    order = sorted(range(len(values)), key=lambda k: values[k])
    out = list(values)
    for before, k in itertools.pairwise(order):
        out[k] = max(out[k], out[before] + gap)
    return out


def _per_class(predictions, task: str) -> DataFrame:  # type: ignore[no-untyped-def]
    import numpy as np
    import pandas as pd

    columns = {}
    for name, arrays in predictions.items():
        target, prediction = labels(arrays, task)
        n = np.bincount(target)
        columns[name] = np.bincount(target, target == prediction)[n > 0] / n[n > 0]
        present = np.flatnonzero(n > 0)
    names = class_names(task, int(present.max()) + 1)
    return pd.DataFrame(columns, index=[names[k] for k in present])


ANALYSIS = Analysis(
    name="hard-classes",
    summary="Hardest and easiest classes of each encoder, and how hard they are for the others",
    source="Cole et al. 2022, Figure A5",
    run=run,
    needs=("seed", "probe"),
    min_encoders=2,
    needs_predictions=True,
    options=(
        Option("task", "", "Task; the first that predicts one class an example if not given."),
        Option("encoders", (), "The two encoders drawn; the two best if not given.", type=comma_list),
        Option("share", 0.05, "Share of the classes at each end (at least one class).", type=float),
        EXCLUDE,
    ),
)
