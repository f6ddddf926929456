"""Tree of end tasks by correlation with bootstrap support, and a permutation test of the category pockets.

Kotar et al. 2021 see "pockets of correlation" inside the four categories in Figures 13 and 14. Here the categories'
labels are permuted over tasks, which keeps the correlations' own dependence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, Outputs
from virb.errors import ScoresError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import correlation_matrix
from virb.stats.structure import dendrogram, pocket_test

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame, out: Outputs, *, method: str, resamples: int, exclude: tuple[str, ...], missing: str
) -> None:
    import pandas as pd
    from scipy.cluster import hierarchy

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_varying=True)
    tree = dendrogram(data.wide, method, resamples=resamples)
    rows = []
    sets: list[list[int]] = [[k] for k in range(len(tree.tasks))]
    for (a, b, height, _), support in zip(tree.linkage, tree.support, strict=True):
        sets.append(sets[int(a)] + sets[int(b)])
        rows.append((" + ".join(tree.tasks[k] for k in sorted(sets[-1])), len(sets[-1]), 1 - height, support))
    out.table(pd.DataFrame(rows, columns=["tasks", "n_tasks", "r_at_joining", "support"]))
    pocket_note = ""
    try:
        pockets = pocket_test(correlation_matrix(data.wide, method).r, data.categories)
        out.table(pockets.by_category, "pockets")
        pocket_note = f"Mean r {pockets.inside:+.2f} inside categories, {pockets.between:+.2f} between, permutation p = {pockets.pvalue:.2g}."
        out.say(f"{pocket_note} Agreement of the tree with the categories (adjusted Rand): {pockets.adjusted_rand:.2f}")
    except ScoresError as error:
        out.say(f"no test of category pockets: {error}")
    with plots.style():
        size = len(tree.tasks)
        fig = plots.figure(plots.COLUMN, 0.5 + 0.135 * max(size, 4))
        axes = fig.add_subplot()
        drawn = hierarchy.dendrogram(tree.linkage, orientation="left", no_plot=True)
        order = drawn["leaves"]
        position = {leaf: float(k) for k, leaf in enumerate(order)}
        heights = dict.fromkeys(position, 0.0)
        for k, (a, b, height, _) in enumerate(tree.linkage):
            a, b, node = int(a), int(b), size + k
            ya, yb = position[a], position[b]
            axes.plot([heights[a], height, height, heights[b]], [ya, ya, yb, yb], color=plots.BLACK, linewidth=0.8)
            position[node], heights[node] = (ya + yb) / 2, height
            if k < size - 2:
                text = f"{100 * tree.support[k]:.0f}"
                strong = tree.support[k] >= 0.7
                axes.annotate(
                    text,
                    (height, position[node]),
                    (1.2, 0.6),
                    textcoords="offset points",
                    fontsize=5.2,
                    va="bottom",
                    color=plots.BLACK if strong else plots.GREY,
                    weight="bold" if strong else "normal",
                )
        axes.set_yticks(range(size), [tree.tasks[k] for k in order])
        colours = plots.category_colours(data.categories)
        for label, k in zip(axes.get_yticklabels(), order, strict=True):
            category = data.categories[tree.tasks[k]]
            label.set_color(plots.darker(colours[category]) if category else plots.BLACK)
        axes.set_ylim(size - 0.4, -0.6)
        axes.set_xlim(0, float(tree.linkage[-1, 2]) * 1.08 + 1e-9)
        axes.set_xlabel(
            "1 \u2212 " + ("Spearman \u03c1" if method == "spearman" else "Pearson r") + " (average linkage)"
        )
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        note = f"n = {tree.n} encoders. Numbers: % of {resamples} resamples of encoders with that branch (bold from 70). {pocket_note} {data.note}"
        plots.titles(fig, "Which end tasks go together", note, handles=plots.category_handles(data.categories))
    out.figure(fig)


ANALYSIS = Analysis(
    name="task-tree",
    summary="Tree of end tasks with bootstrap support, and a test of the category pockets",
    source="after Kotar et al. 2021, Figures 13 and 14",
    run=run,
    min_encoders=4,
    min_tasks=3,
    options=(
        Option("method", "spearman", "Correlation.", choices=("pearson", "spearman")),
        Option("resamples", 1000, "Bootstrap resamples.", type=int),
        EXCLUDE,
        MISSING,
    ),
)
