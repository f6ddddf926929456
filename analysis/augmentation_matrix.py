"""Composition of two augmentations: score for each ordered pair, with the row means.

Chen et al. 2020, Figure 5. Needs the columns augmentation_a and augmentation_b of the encoder; equal ones are the
diagonal (one augmentation alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.scores.layout import EXCLUDE, MISSING, mean_scores, prepare
from virb.scores.schema import as_words, encoder_table

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, task: str, exclude: tuple[str, ...], missing: str) -> None:
    import numpy as np

    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing, task=task, is_complete=False)
    about = encoder_table(data.frame).dropna(subset=["augmentation_a", "augmentation_b"])
    if about.empty:
        raise NotApplicable("No encoder names its two augmentations.")
    score = mean_scores(data, about.index, task, out)
    table = about[["augmentation_a", "augmentation_b"]].apply(as_words).assign(score=score).dropna(subset=["score"])
    if table.empty:
        raise NotApplicable("No encoder that names its two augmentations has all scores.")
    names = list(dict.fromkeys([*table["augmentation_a"], *table["augmentation_b"]]))
    square = table.pivot_table(
        index="augmentation_a", columns="augmentation_b", values="score", aggfunc="mean"
    ).reindex(names, columns=names)
    empty = int(square.isna().to_numpy().sum())
    if empty:
        out.say(f"{empty} of {square.size} pairs have no encoder; row means are over the others")
    square["mean"] = square.mean(axis=1)
    out.table(square.rename_axis("augmentation_a").reset_index())
    off = square[names].where(~np.eye(len(names), dtype=bool))
    best = off.stack()
    if len(best):
        a, b = best.idxmax()
        out.say(
            f"best pair: {a} then {b}, {best.max():.3f}; best alone: {np.nanmax(np.diag(square[names])):.3f}"
            if np.isfinite(np.diag(square[names])).any()
            else f"best pair: {a} then {b}, {best.max():.3f}"
        )
    with plots.style():
        longest = plots.text_width(names, 6.5)
        fig = plots.figure(plots.COLUMN, 0.35 + longest + 0.22 * max(len(names), 2))
        axes = fig.add_subplot()
        plots.heatmap(axes, square, digits=2 if float(np.nanmax(square.abs())) < 10 else 1)
        axes.axvline(len(names) - 0.5, color="white", linewidth=3)
        axes.set_ylabel("first")
        axes.set_xlabel("second")
        axes.tick_params(axis="x", rotation=90)
        plots.titles(
            fig,
            "Composition of augmentations",
            f"{task or 'Mean over tasks'}; n = {len(table)} encoders; diagonal: one alone. {data.note}",
        )
    out.figure(fig)


ANALYSIS = Analysis(
    name="augmentation-matrix",
    summary="Composition of two augmentations, with row means",
    source="Chen et al. 2020, Figure 5",
    run=run,
    needs=("augmentation_a", "augmentation_b"),
    options=(Option("task", "", "Task whose score is shown; the mean over tasks if not given."), EXCLUDE, MISSING),
)
