"""Comparison table with the encoders not significantly worse than the best in bold, by paired permutation tests.

Chen et al. 2020, Table 8 and Appendix B.8: p > .05 against the best is bold. The tests see the noise of the test sample
only: another head or pretraining seed may change the order. With many encoders the best is partly luck, and p is
uncorrected as in the paper unless Holm's correction is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.errors import ScoresError
from virb.records.predictions import compare, read_predictions
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import adjust_p

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame,
    out: Outputs,
    *,
    alpha: float,
    correction: str,
    samples: int,
    exclude: tuple[str, ...],
    missing: str,
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    rows = []
    for task in data.wide.columns:
        part = data.frame[data.frame["task"] == task]
        metric = str(part["metric"].iloc[0])
        try:
            predictions = read_predictions(scores.attrs["results"], part, str(task))
            # The head whose predictions are compared decides who is best, not the mean over seeds.
            first = part.sort_values("seed", kind="stable").drop_duplicates("encoder").set_index("encoder")["score"]
            best = first.idxmax()
            tests = {
                name: compare(predictions[best], predictions[name], metric, samples=samples)
                for name in first.index
                if name != best
            }
        except ScoresError as error:
            out.say(f"{task} is left out: {error}")
            continue
        p = np.array([test.pvalue for test in tests.values()])
        adjusted = adjust_p(p, "holm") if correction == "holm" and len(p) else p
        rows.append((task, metric, best, first[best], best, 0.0, 1.0, 1.0, True, True, np.nan))
        for (name, test), q in zip(tests.items(), adjusted, strict=True):
            found = test.detectable(alpha=alpha)
            rows.append(
                (task, metric, name, first[name], best, test.statistic, test.pvalue, q, test.exact, q > alpha, found)
            )
    if not rows:
        raise NotApplicable("No task's predictions allow a paired test.")
    columns = ["task", "metric", "encoder", "score", "best", "behind", "p", "p_adjusted", "is_exact", "is_not_worse"]
    columns.append("detectable")
    table = pd.DataFrame(rows, columns=columns)
    out.table(table)
    tasks = [task for task in data.wide.columns if task in set(table["task"])]
    compared = [name for name in data.wide.index if name in set(table["encoder"])]
    wide = table.pivot(index="encoder", columns="task", values="score").loc[compared, tasks]
    bold = table.pivot(index="encoder", columns="task", values="is_not_worse").loc[wide.index, tasks]
    bold = bold.fillna(False).to_numpy(bool)
    counts = bold.sum(axis=1)
    order = np.argsort(-counts, kind="stable")
    out.say(
        "not significantly worse than the best: "
        + ", ".join(f"{wide.index[k]} on {counts[k]}" for k in order[:5])
        + f" of {len(tasks)} tasks"
    )
    missed = table[table["is_not_worse"] & table["detectable"].notna()].groupby("task")["detectable"].max()
    if len(missed):
        out.say(
            "not significantly worse is not equal; found four times in five would be: "
            + ", ".join(f"{task} {value:.3f}" for task, value in missed.reindex(tasks).dropna().items())
        )
    with plots.style():
        long = plots.text_width([str(t) for t in tasks], 6.5)
        width = max(plots.COLUMN, min(plots.PAGE, 1.4 + 0.4 * len(tasks)))
        fig = plots.figure(width, 0.2 + long + 0.16 * max(len(wide), 3))
        axes = fig.add_subplot()
        shown = wide.iloc[order]
        mark = bold[order]
        place = axes.imshow(np.where(mark, 1.0, 0.0), cmap=_pale(), vmin=0, vmax=1, aspect="auto")
        size = 6.0 if len(tasks) <= 14 else 4.8
        for i in range(len(shown)):
            for j in range(len(tasks)):
                text = plots.score_text(float(shown.iloc[i, j])) if np.isfinite(shown.iloc[i, j]) else "–"
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=size, weight="bold" if mark[i, j] else "normal"
                )
        axes.set_xticks(range(len(tasks)), tasks, rotation=90)
        axes.set_yticks(range(len(shown)), list(shown.index))
        for label, task in zip(axes.get_xticklabels(), tasks, strict=True):
            category = data.categories[task]
            if category:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        place.axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        sampled = "" if table["is_exact"].all() else f", {samples:,} samples where not exact"
        holm = " after Holm's correction" if correction == "holm" else ", not corrected for the number of encoders"
        note = f"Bold: not significantly worse than the best of the column (paired permutation test, p > {alpha:g}{holm}{sampled}). "
        note += "Test-sample noise only; one head each. "
        if len(missed):
            note += (
                f"Differences from {missed.min():.3f} to {missed.max():.3f} (by task) are found four times in five. "
            )
        note += data.note
        plots.titles(
            fig, "Who is not worse than the best", note, handles=plots.category_handles(data.categories[tasks])
        )
    out.figure(fig)


def _pale():  # type: ignore[no-untyped-def]
    from matplotlib.colors import ListedColormap

    return ListedColormap(["white", "#DCEBF5"])


ANALYSIS = Analysis(
    name="significance",
    summary="Comparison table with the encoders not significantly worse than the best in bold",
    source="Chen et al. 2020, Table 8 and Appendix B.8",
    run=run,
    needs=("metric", "seed", "probe"),
    min_encoders=2,
    needs_predictions=True,
    options=(
        Option("alpha", 0.05, "Level of the tests.", type=float),
        Option("correction", "none", "Correction over the encoders of a task.", choices=("none", "holm")),
        Option("samples", 100_000, "Random exchanges where the exact p is out of reach.", type=int),
        EXCLUDE,
        MISSING,
    ),
)
