"""Composition of two augmentations: score for each ordered pair, with the row means.

Chen et al. 2020, Figure 5. Needs the columns augmentation_a and augmentation_b of the encoder; equal ones are the
diagonal (one augmentation alone).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, mean_scores, prepare
from virb.scores.schema import as_words, encoder_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(scores: DataFrame, notes: Notes, *, task: str, exclude: tuple[str, ...], missing: str) -> Tables:
    data = prepare(scores, notes, exclude=exclude, missing=missing, task=task, is_complete=False)
    about = encoder_table(data.frame).dropna(subset=["augmentation_a", "augmentation_b"])
    if about.empty:
        raise NotApplicable("No encoder names its two augmentations.")
    score, what = mean_scores(data, about.index, task, notes)
    table = about[["augmentation_a", "augmentation_b"]].apply(as_words).assign(score=score).dropna(subset=["score"])
    if table.empty:
        raise NotApplicable("No encoder that names its two augmentations has all scores.")
    names = list(dict.fromkeys([*table["augmentation_a"], *table["augmentation_b"]]))
    square = table.pivot_table(
        index="augmentation_a", columns="augmentation_b", values="score", aggfunc="mean"
    ).reindex(names, columns=names)
    empty = int(square.isna().to_numpy().sum())
    if empty:
        notes.say(f"{empty} of {square.size} pairs have no encoder; row means are over the others")
    square["mean"] = square.mean(axis=1)
    return Tables(
        {"": square.rename_axis("augmentation_a").reset_index()}, score_of=what, n_encoders=len(table), note=data.note
    )


def say(tables: Tables) -> list[str]:
    import numpy as np

    square = tables[""].set_index("augmentation_a").drop(columns="mean").to_numpy(float)
    names = list(tables[""]["augmentation_a"])
    off = np.where(np.eye(len(names), dtype=bool), np.nan, square)
    if not np.isfinite(off).any():
        return []
    a, b = np.unravel_index(np.nanargmax(off), off.shape)
    pair = f"best of {np.isfinite(off).sum()} pairs: {names[a]} then {names[b]}, {off[a, b]:.3f}"
    alone = np.diag(square)
    return [
        f"{pair}; best of {np.isfinite(alone).sum()} alone: {np.nanmax(alone):.3f}"
        if np.isfinite(alone).any()
        else pair
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    square = tables[""].set_index("augmentation_a")
    names = list(square.index)
    with plots.style():
        longest = plots.text_width(names, 6.5)
        fig = plots.figure(plots.COLUMN, 0.35 + longest + 0.22 * max(len(names), 2))
        axes = fig.add_subplot()
        plots.heatmap(axes, square, digits=2 if float(np.nanmax(square.abs())) < 10 else 1)
        axes.axvline(len(names) - 0.5, color="white", linewidth=3)
        axes.set_ylabel("first")
        axes.set_xlabel("second")
        axes.tick_params(axis="x", rotation=90)
        facts = tables.facts
        plots.titles(
            fig,
            "Composition of augmentations",
            f"{plots.sentence(facts['score_of'])}; n = {facts['n_encoders']} encoders; diagonal: one alone. {facts['note']}",
        )
    return {"": fig}


ANALYSIS = Analysis(
    name="augmentation-matrix",
    summary="Composition of two augmentations, with row means",
    source="Chen et al. 2020, Figure 5",
    compute=compute,
    draw=draw,
    say=say,
    needs=("augmentation_a", "augmentation_b"),
    options=(Option("task", "", "Task whose score is shown; the mean over tasks if not given."), EXCLUDE, MISSING),
)
