"""Two ways of probing against each other, encoder by encoder and task by task, with their correlation.

Chen et al. 2020, Figures B.5 and B.6 (linear against fine-tuned). Needs scores of two probes. Pitfall: between encoders
of very different quality any two probes correlate; the correlation inside each task is the one to read. The picture and
the correlation over all pairs are of tasks of one unit: errors in degrees beside accuracies would make any r.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError
from virb.records.names import base_probe
from virb.scores.layout import EXCLUDE
from virb.scores.units import of_one_unit
from virb.stats.correlation import fisher_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

PAPERS = ("gradient", "finetune")


def _papers(found: list[str]) -> tuple[str, ...]:
    """Return the paper's two probes as the scores call them (``finetune+epochs=10``), if each is there once."""
    chosen: list[str] = []
    for paper in PAPERS:
        named = [paper] if paper in found else [name for name in found if base_probe(name) == paper]
        chosen += named if len(named) == 1 else []
    return tuple(chosen) if len(chosen) == len(PAPERS) else ()


def compute(scores: DataFrame, notes: Notes, *, probes: tuple[str, ...], exclude: tuple[str, ...]) -> Tables:
    """A row a task; ``pairs``: the scores of every encoder and task by both probes."""
    import numpy as np
    import pandas as pd

    kept = scores[~scores["task"].isin(exclude) & ~scores["encoder"].isin(exclude) & scores["probe"].notna()]
    if len(kept) < len(scores) and scores["probe"].isna().any():
        notes.say(f"{int(scores['probe'].isna().sum())} scores say no probe, and are left out")
    pairs_of = kept.groupby("probe").apply(
        lambda part: len(part[["encoder", "task"]].drop_duplicates()), include_groups=False
    )
    found = sorted(pairs_of.index, key=lambda name: (-pairs_of[name], name))
    if not probes:
        if len(found) < 2:
            raise NotApplicable(f"It compares two probes, and the scores have {names_in_words(found)} only.")
        probes = _papers(found) or tuple(found[:2])
        if len(found) > 2:
            notes.say(f"{names_in_words(found)}: drawn are {' and '.join(probes)}; --option probes=A,B chooses others")
    if len(probes) != 2 or any(name not in found for name in probes):
        raise UsageError(f"probes={','.join(probes)}: expected two of {names_in_words(found)}.")
    if "labels" in kept and kept["labels"].nunique(dropna=False) > 1:
        raise ScoresError("The scores mix several numbers of labels. Keep the rows of one: --select labels=N.")
    wide = kept.pivot_table(index=["task", "encoder"], columns="probe", values="score", aggfunc="mean", sort=False)
    pairs = wide[list(probes)].dropna().reset_index()
    lost = len(wide) - len(pairs)
    if lost:
        notes.say(f"{lost} pairs of encoder and task have one of the two probes only, and are left out")
    if len(pairs) < 3:
        raise NotApplicable("Fewer than three pairs of encoder and task have both probes.")
    rows = []
    for task, part in pairs.groupby("task", sort=False):
        x, y = part[probes[0]], part[probes[1]]
        can = len(part) >= 3 and x.nunique() > 1 and y.nunique() > 1
        r = float(np.corrcoef(x, y)[0, 1]) if can else np.nan
        low, high = (float(v) for v in fisher_interval(np.array(r), len(part))) if can else (np.nan, np.nan)
        rows.append((task, len(part), r, low, high, float((y - x).mean())))
    table = pd.DataFrame(rows, columns=["task", "n_encoders", "r", "low", "high", "mean_gain"])
    tasks = pd.DataFrame(columns=list(table["task"]))
    drawn = of_one_unit(kept, tasks, notes, what="the correlation over all pairs and the picture")
    return Tables({"": table, "pairs": pairs}, probes=list(probes), tasks_drawn=drawn)


def _drawn(tables: Tables) -> tuple[DataFrame, float]:
    """Pairs of the tasks of one unit, and their correlation."""
    import numpy as np

    probes, pairs = tables.facts["probes"], tables["pairs"]
    pairs = pairs[pairs["task"].isin(tables.facts["tasks_drawn"])]
    can = len(pairs) >= 3 and all(pairs[name].nunique() > 1 for name in probes)
    return pairs, float(np.corrcoef(pairs[probes[0]], pairs[probes[1]])[0, 1]) if can else np.nan


def say(tables: Tables) -> list[str]:
    import numpy as np

    probes = tables.facts["probes"]
    pairs, all_r = _drawn(tables)
    inside = tables[""]["r"].mean()
    return [
        f"{probes[1]} against {probes[0]}: r = {all_r:.2f} over {len(pairs)} pairs"
        + (f", {inside:.2f} inside tasks on average" if np.isfinite(inside) else "")
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    table, probes = tables[""], tables.facts["probes"]
    pairs, all_r = _drawn(tables)
    shades = dict(zip(table["task"], [*plots.OKABE_ITO[:6], *plots.TOL_MUTED] * 4, strict=False))
    with plots.style():
        fig = plots.figure(plots.COLUMN, plots.COLUMN - 0.5)
        axes = fig.add_subplot()
        for task, part in pairs.groupby("task", sort=False):
            axes.scatter(part[probes[0]], part[probes[1]], s=10, color=shades[task], linewidth=0, alpha=0.85)
        low, high = (f(pairs[list(probes)].to_numpy()) for f in (np.min, np.max))
        axes.plot([low, high], [low, high], color=plots.GREY, linewidth=0.7, linestyle=(0, (3, 2)))
        axes.set_xlabel(probes[0])
        axes.set_ylabel(probes[1])
        axes.grid()
        shown = plots.colour_handles(shades) if len(shades) <= 14 else []
        plots.titles(
            fig,
            f"{probes[1]} against {probes[0]}",
            f"{len(pairs)} pairs of encoder and task; dashes: equal. r = {all_r:.2f}.",
            handles=shown,
        )
    return {"": fig}


ANALYSIS = Analysis(
    name="linear-vs-finetuned",
    summary="Two ways of probing against each other, with their correlation",
    source="Chen et al. 2020, Figures B.5 and B.6",
    compute=compute,
    draw=draw,
    say=say,
    needs=("probe",),
    options=(
        Option(
            "probes",
            (),
            "The two probes, with a comma between; if not given, gradient and finetune, or the two most frequent.",
            type=comma_list,
        ),
        EXCLUDE,
    ),
)
