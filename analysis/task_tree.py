"""Tree of end tasks by correlation with bootstrap support, and a permutation test of the category pockets.

Kotar et al. 2021 see "pockets of correlation" inside the four categories in Figures 13 and 14. Here the categories'
labels are permuted over tasks, which keeps the correlations' own dependence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import adjust_p, correlation_matrix
from virb.stats.structure import dendrogram, pocket_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, method: str, resamples: int, exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a branch of the tree; ``pockets``: each category's mean r, with p corrected for their number."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    tree = dendrogram(data.wide, method, resamples=resamples)
    rows = []
    sets: list[list[int]] = [[k] for k in range(len(tree.tasks))]
    for (a, b, height, _), support in zip(tree.linkage, tree.support, strict=True):
        sets.append(sets[int(a)] + sets[int(b)])
        name = " + ".join(tree.tasks[k] for k in sorted(sets[-1]))
        rows.append((name, len(sets[-1]), 1 - height, support, int(a), int(b), height))
    columns = ["tasks", "n_tasks", "r_at_joining", "support", "first", "second", "height"]
    tables = Tables(
        {"": pd.DataFrame(rows, columns=columns)},
        method=method,
        tasks={task: data.categories[task] for task in tree.tasks},
        n_encoders=tree.n,
        resamples=resamples,
        note=data.note,
    )
    try:
        pockets = pocket_test(correlation_matrix(data.wide, method).r, data.categories)
    except ScoresError as error:
        notes.say(f"no test of category pockets: {error}")
        return tables
    known = pockets.by_category["p"].notna()
    tables["pockets"] = pockets.by_category.assign(p_holm=float("nan"))
    tables["pockets"].loc[known, "p_holm"] = adjust_p(pockets.by_category.loc[known, "p"].to_numpy(), "holm")
    tables.facts["pockets"] = {
        "inside": pockets.inside,
        "between": pockets.between,
        "p": pockets.pvalue,
        "adjusted_rand": pockets.adjusted_rand,
    }
    return tables


def _pockets(tables: Tables) -> str:
    found = tables.facts.get("pockets")
    if not found:
        return ""
    return f"Mean r {found['inside']:+.2f} inside categories, {found['between']:+.2f} between, permutation p = {found['p']:.2g}."


def say(tables: Tables) -> list[str]:
    if "pockets" not in tables:
        return []
    rand = tables.facts["pockets"]["adjusted_rand"]
    lines = [f"{_pockets(tables)} Agreement of the tree with the categories (adjusted Rand): {rand:.2f}"]
    known = tables["pockets"].dropna(subset=["p"])
    if len(known):
        row = known.loc[known["p"].idxmin()]
        lines.append(
            f"the tightest category is {row['category']} (mean r {row['inside']:+.2f}): p = {row['p_holm']:.2g} with Holm's "
            f"correction over {len(known)} categories, as the tightest of so many is chosen by luck too"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np
    from scipy.cluster import hierarchy

    from virb.figures import plots

    facts, branches = tables.facts, tables[""]
    names, categories = list(facts["tasks"]), list(facts["tasks"].values())
    linkage = np.column_stack([branches[name] for name in ("first", "second", "height", "n_tasks")]).astype(float)
    with plots.style():
        size = len(names)
        step = min(0.135, 9.0 / size)  # a tree has no part to leave out: its names are set smaller, and then not at all
        has_names = step > 0.05
        fig = plots.figure(plots.COLUMN, 0.5 + step * max(size, 4))
        axes = fig.add_subplot()
        drawn = hierarchy.dendrogram(linkage, orientation="left", no_plot=True)
        order = drawn["leaves"]
        position = {leaf: float(k) for k, leaf in enumerate(order)}
        heights = dict.fromkeys(position, 0.0)
        for k, (a, b, height, _) in enumerate(linkage):
            a, b, node = int(a), int(b), size + k
            ya, yb = position[a], position[b]
            axes.plot([heights[a], height, height, heights[b]], [ya, ya, yb, yb], color=plots.BLACK, linewidth=0.8)
            position[node], heights[node] = (ya + yb) / 2, height
            if k < size - 2 and has_names:
                support = branches["support"][k]
                strong = support >= 0.7
                axes.annotate(
                    f"{100 * support:.0f}",
                    (height, position[node]),
                    (1.2, 0.6),
                    textcoords="offset points",
                    fontsize=5.2,
                    va="bottom",
                    color=plots.BLACK if strong else plots.GREY,
                    weight="bold" if strong else "normal",
                )
        labels = [names[k] if has_names else "" for k in order]
        axes.set_yticks(range(size), labels, fontsize=min(6.5, 60 * step))
        colours = plots.category_colours(categories)
        for label, k in zip(axes.get_yticklabels(), order, strict=True):
            label.set_color(plots.darker(colours[categories[k]]) if categories[k] else plots.BLACK)
        axes.set_ylim(size - 0.4, -0.6)
        axes.set_xlim(0, float(linkage[-1, 2]) * 1.08 + 1e-9)
        axes.set_xlabel(
            "1 \u2212 " + ("Spearman \u03c1" if facts["method"] == "spearman" else "Pearson r") + " (average linkage)"
        )
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        note = f"n = {facts['n_encoders']} encoders. Numbers: % of {facts['resamples']} resamples of encoders with that branch (bold from 70). {_pockets(tables)} {facts['note']}"
        plots.titles(fig, "Which end tasks go together", note, handles=plots.category_handles(categories))
    return {"": fig}


ANALYSIS = Analysis(
    name="task-tree",
    summary="Tree of end tasks with bootstrap support, and a test of the category pockets",
    source="after Kotar et al. 2021, Figures 13 and 14",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=4,
    min_tasks=3,
    options=(
        Option("method", "spearman", "Correlation.", choices=("pearson", "spearman")),
        Option("resamples", 1000, "Bootstrap resamples.", type=int),
        EXCLUDE,
        MISSING,
    ),
)
