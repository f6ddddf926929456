"""Two batteries of tasks over the same encoders: do they order them alike, and more or less than random splits of the tasks would?

A standing is the mean over a battery's tasks of scores in sd of each task. Pitfalls: a high correlation is no news where any two halves of
all tasks agree as well, which the random splits show; encoders of one family count once in p and interval where families are declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.families import FAMILY, basis_of, declared_families
from virb.scores.layout import EXCLUDE, MISSING, Prepared, prepare
from virb.scores.roles import roles
from virb.stats.agreement import agreement, standings
from virb.stats.correlation import correlation_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    other: str,
    tasks: tuple[str, ...],
    family: str,
    samples: int,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row an encoder: its standing in both batteries; ``random``: rho of random splits of all tasks."""
    import pandas as pd

    data, first, second, names = _batteries(scores, notes, other, tasks, exclude, missing)
    common = first.index.intersection(second.index, sort=False)
    if len(common) < 3:
        raise NotApplicable(f"The two batteries have {len(common)} encoders in common; three are needed.")
    for wide, name in ((first, names[0]), (second, names[1])):
        alone = [str(e) for e in wide.index if e not in set(common)]
        if alone:
            notes.say(f"only in {name}, and left out: {names_in_words(alone)}")
    a, b = first.loc[common].to_numpy(float), second.loc[common].to_numpy(float)
    shared = [str(task) for task in first.columns.intersection(second.columns)]
    table = pd.DataFrame({"encoder": common, "first": standings(a), "second": standings(b)})
    table["role"] = table["encoder"].map(roles(data.frame))
    if table[["first", "second"]].nunique().min() < 2:
        raise NotApplicable("In one of the batteries all encoders stand alike.")
    found = agreement(a, b, samples=samples)
    families = declared_families(data.frame, common, notes, column=family)
    interval = "jackknife" if families.labels is not None else "fisher"
    r = correlation_matrix(table[["first", "second"]], "spearman", interval=interval, clusters=families.labels)
    return Tables(
        {"": table, "random": pd.DataFrame({"rho": found.random})},
        names=names,
        sizes=[first.shape[1], second.shape[1]],
        rho=found.rho,
        tau=found.tau,
        low=float(r.low.iloc[0, 1]),
        high=float(r.high.iloc[0, 1]),
        p=float(r.p.iloc[0, 1]),
        basis=basis_of(r, families),
        p_less=found.p_less,
        shared=shared,
        note=data.note,
    )


def _batteries(
    scores: DataFrame, notes: Notes, other: str, tasks: tuple[str, ...], exclude: tuple[str, ...], missing: str
) -> tuple[Prepared, DataFrame, DataFrame, list[str]]:
    from pathlib import Path

    from virb.scores.read import read_scores

    if bool(other) == bool(tasks):
        if other:
            raise UsageError(
                "agreement takes a second table (other=FILE) or some tasks of this one (tasks=a,b), not both."
            )
        raise NotApplicable(
            "It compares two batteries: --option other=FILE, or --option tasks=a,b for these against the rest."
        )
    data = prepare(scores, notes, exclude=exclude, missing=missing)
    if other:
        mine = [name for name in exclude if ((scores["task"] == name) | (scores["encoder"] == name)).any()]
        theirs = read_scores(other)
        second = prepare(theirs, notes, exclude=tuple(name for name in exclude if name not in mine), missing=missing)
        return data, data.wide, second.wide, ["the first table", Path(other).stem]
    known = [str(name) for name in data.wide.columns]
    categories = data.categories
    chosen = [str(task) for task in categories.index if str(task) in tasks or categories[task] in tasks]
    unknown = [name for name in tasks if name not in known and name not in set(categories)]
    if unknown or not 0 < len(chosen) < len(known):
        named = [name for name in dict.fromkeys(categories) if name]
        others = f", or of the categories {names_in_words(named)}" if named else ""
        raise UsageError(f"tasks={','.join(tasks)}: expected some, not all, of {names_in_words(known, 12)}{others}.")
    rest = [task for task in data.wide.columns if str(task) not in chosen]
    words = ", ".join(tasks) if len(tasks) <= 2 else f"{len(chosen)} tasks"
    return data, data.wide[chosen], data.wide[rest], [words, "the other tasks"]


def say(tables: Tables) -> list[str]:
    import numpy as np

    table, facts = tables[""], tables.facts
    low, middle, high = np.percentile(tables["random"]["rho"], (5, 50, 95))
    less = "less than" if facts["p_less"] <= 0.05 else "as well as"
    lines = [
        f"{facts['names'][0]} ({facts['sizes'][0]} tasks) and {facts['names'][1]} ({facts['sizes'][1]}) over {len(table)} encoders: rho = {facts['rho']:.2f} "
        f"(95% {facts['low']:.2f} to {facts['high']:.2f}, p = {facts['p']:.2g}; {facts['basis']}), Kendall's tau = {facts['tau']:.2f}",
        f"they agree {less} random splits of the {sum(facts['sizes'])} tasks do: rho {middle:.2f}, nine in ten from {low:.2f} to {high:.2f}; "
        f"p = {facts['p_less']:.2g}",
    ]
    if facts["shared"]:
        lines.append(
            f"tasks of one name are in both batteries, which makes them agree: {names_in_words(facts['shared'])}"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    """Standings against each other, and rho among random splits."""
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    shades = plots.role_colours(table["role"])
    with plots.style():
        fig = plots.figure(plots.COLUMN, 3.1)
        top, bottom = fig.subplots(2, 1, height_ratios=[3.2, 1])
        for role, shade in shades.items():
            part = table[table["role"] == role]
            top.plot(part["first"], part["second"], "o", linestyle="", color=shade, markersize=3, markeredgewidth=0)
        if len(table) <= 16:
            for row in table.itertuples():
                top.annotate(
                    str(row.encoder), (row.first, row.second), xytext=(2, 2), textcoords="offset points", fontsize=5
                )
        top.set_xlabel(f"{facts['names'][0]}: standing in sd of each task")
        top.set_ylabel(str(facts["names"][1]))
        top.grid()
        bottom.hist(tables["random"]["rho"], bins=30, color=plots.LIGHT)
        bottom.axvline(facts["rho"], color=plots.OKABE_ITO[5], linewidth=1.4)
        bottom.set_yticks([])
        bottom.spines["left"].set_visible(False)
        bottom.set_xlabel("rho of random splits of all tasks; line: these two")
        note = f"n = {len(table)} encoders; rho = {facts['rho']:.2f} (95% {facts['low']:.2f} to {facts['high']:.2f}; {facts['basis']}). {facts['note']}"
        plots.titles(
            fig, "Two batteries of tasks", note, handles=plots.colour_handles(shades) if len(shades) > 1 else []
        )
    return {"": fig}


ANALYSIS = Analysis(
    name="agreement",
    summary="Two batteries of tasks over the same encoders: rank agreement with an interval, beside random splits",
    source="beyond the papers",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
    min_tasks=1,
    options=(
        Option("other", "", "Second table of scores (a file, a results folder or NAME:PATH) of the same encoders."),
        Option(
            "tasks",
            (),
            "Tasks or categories, with commas between, that are one battery; all others are the second.",
            type=comma_list,
        ),
        Option("samples", 999, "Random splits; all there are, where they are fewer.", type=int),
        FAMILY,
        EXCLUDE,
        MISSING,
    ),
)
