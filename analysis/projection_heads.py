"""Projection heads of pretraining: score of the layer below by the head's kind and its output's dimension.

Chen et al. 2020, Figure 8: a nonlinear head beats a linear one by 3 points and none by over 10, at any dimension. Needs
the columns head (identity, linear, nonlinear, ...) and head_dim of the encoder, which virb pretrain writes; without a
head (identity) the dimension is that of the embedding. Encoders read through their projection (features=projection) are
left out: what is compared is the layer below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, as_counts, mean_scores, prepare
from virb.scores.schema import as_words, encoder_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series


def compute(scores: DataFrame, notes: Notes, *, task: str, exclude: tuple[str, ...], missing: str) -> Tables:
    if "features" in scores:
        is_through = scores["features"] == "projection"
        if is_through.any():
            through = names_in_words(list(dict.fromkeys(scores.loc[is_through, "encoder"])))
            notes.say(f"left out, as they show the projection itself: {through}")
        scores = scores[~is_through]
        if scores.empty:
            raise NotApplicable(
                "Every encoder is read through its projection, and what is compared is the layer below."
            )
    data = prepare(scores, notes, exclude=exclude, missing=missing, task=task, is_complete=False)
    about = encoder_table(data.frame).dropna(subset=["head", "head_dim"])
    about = about.assign(head=as_words(about["head"]), head_dim=as_counts(about["head_dim"], "head_dim", notes))
    score, what = mean_scores(data, about.index, task, notes)
    about = about[about["head_dim"].notna() & score.notna()]
    if about["head"].nunique() < 2:
        kinds = names_in_words(sorted(map(str, about["head"].unique()))) if len(about) else "none"
        raise NotApplicable(f"It compares kinds of projection head (column head); the encoders have {kinds}.")
    cells = about.assign(score=score)
    table = cells.groupby(["head", "head_dim"], sort=False)["score"].agg(["mean", "min", "max", "count"]).reset_index()
    table = table.rename(columns={"mean": "score", "count": "n_encoders"}).sort_values(["head", "head_dim"])
    return Tables({"": table.assign(score_of=what)}, score_of=what, n_encoders=len(cells), note=data.note)


def _level(table: DataFrame) -> Series:
    """Mean over dimensions of each kind of head, the best first."""
    return table.groupby("head")["score"].mean().sort_values(ascending=False)


def say(tables: Tables) -> list[str]:
    import numpy as np

    table = tables[""]
    level = _level(table)
    best = str(level.index[0])
    shared = table.pivot(index="head_dim", columns="head", values="score")
    lines = []
    for other in level.index[1:]:
        both = shared[[best, other]].dropna()
        paired = (
            f", {(both[best] - both[other]).mean():+.3f} at the {len(both)} dimension{'s' * (len(both) > 1)} that both have"
            if len(both)
            else ""
        )
        lines.append(f"{best} less {other}: {level[best] - level[other]:+.3f} in the mean over dimensions{paired}")
    spread = table.groupby("head")["score"].agg(lambda values: float(np.ptp(values)))
    lines.append("range over dimensions: " + ", ".join(f"{name} {spread[name]:.3f}" for name in level.index))
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from matplotlib.lines import Line2D

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    level = _level(table)
    shades = plots.palette(table["head"])
    with plots.style():
        fig = plots.figure(plots.COLUMN, 1.8)
        axes = fig.add_subplot()
        markers = dict(zip(level.index, "os^Dv<>P*X" * 3, strict=False))
        for name, part in table.groupby("head", sort=False):
            axes.plot(part["head_dim"], part["score"], "-", marker=markers[name], color=shades[name])
            if (part["n_encoders"] > 1).any():
                axes.fill_between(
                    part["head_dim"], part["min"], part["max"], color=shades[name], alpha=0.13, linewidth=0
                )
        plots.log_counts(axes, table["head_dim"], most=6)
        axes.set_xticks(axes.get_xticks(), [f"{tick:g}" for tick in axes.get_xticks()])
        axes.set_xlabel("dimension of the head's output")
        axes.set_ylabel("score")
        axes.grid(axis="y")
        band = " Bands: range over encoders." if (table["n_encoders"] > 1).any() else ""
        note = f"{plots.sentence(facts['score_of'])} of the layer below the head; n = {facts['n_encoders']} encoders.{band} {facts['note']}"
        handles = [
            Line2D([], [], color=shades[name], marker=markers[name], markersize=3, linewidth=1.0, label=name)
            for name in level.index
        ]
        plots.titles(fig, "Projection heads", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="projection-heads",
    summary="Score by the projection head's kind and dimension",
    source="Chen et al. 2020, Figure 8",
    compute=compute,
    draw=draw,
    say=say,
    needs=("head", "head_dim"),
    min_encoders=2,
    options=(Option("task", "", "Task whose score is shown; the mean over tasks if not given."), EXCLUDE, MISSING),
)
