"""Comparison table with the encoders not significantly worse than the best in bold, by paired permutation tests.

Chen et al. 2020, Table 8 and Appendix B.8: p > .05 against the best is bold. The tests see the noise of the test sample
only: another head or pretraining seed may change the order. With many encoders the best is partly luck, and p is
uncorrected as in the paper unless Holm's correction is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
from virb.records.predictions import compare, read_predictions
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import adjust_p

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

    from virb.figures.tables import Table


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    alpha: float,
    correction: str,
    samples: int,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row a task and encoder: the test of it against the task's best."""
    import numpy as np
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
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
            notes.say(f"{task} is left out: {error}")
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
    tasks, encoders = set(table["task"]), set(table["encoder"])
    return Tables(
        {"": table},
        tasks={str(task): data.categories[task] for task in data.wide.columns if task in tasks},
        encoders=[str(name) for name in data.wide.index if name in encoders],
        alpha=alpha,
        correction=correction,
        samples=samples,
        note=data.note,
    )


def _bold(tables: Tables) -> tuple[DataFrame, DataFrame]:
    """Scores and whether each is not significantly worse than the best, encoders x tasks; the most often bold first."""
    tasks, encoders = list(tables.facts["tasks"]), tables.facts["encoders"]
    wide = tables[""].pivot(index="encoder", columns="task", values="score").loc[encoders, tasks]
    bold = tables[""].pivot(index="encoder", columns="task", values="is_not_worse").loc[encoders, tasks] == True  # noqa: E712
    order = bold.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return wide.loc[order], bold.loc[order]


def _missed(tables: Tables) -> Series:
    """The largest difference on each task that would be found among those that were not."""
    table = tables[""]
    missed = table[table["is_not_worse"] & table["detectable"].notna()].groupby("task")["detectable"].max()
    return missed.reindex(list(tables.facts["tasks"])).dropna()


def say(tables: Tables) -> list[str]:
    _, bold = _bold(tables)
    # As benchmarks/null.py finds it.
    luck = (
        "p after Holm's correction over encoders; the best is chosen from the same images: one of ten equal encoders is called worse "
        "13 times in a hundred, not 5"
        if tables.facts["correction"] == "holm"
        else "p uncorrected; the best is chosen from the same images: each of ten equal encoders is called worse 15 times in a hundred, not 5"
    )
    lines = [
        "not significantly worse than the best: "
        + ", ".join(f"{name} on {n}" for name, n in bold.sum(axis=1).head(5).items())
        + f" of {bold.shape[1]} tasks ({luck})"
    ]
    missed = _missed(tables)
    if len(missed):
        lines.append(
            "not significantly worse is not equal; found four times in five would be: "
            + ", ".join(f"{task} {value:.3f}" for task, value in missed.items())
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    facts, (shown, bold), missed = tables.facts, _bold(tables), _missed(tables)
    rows = plots.choose(shown.index, what="encoders")
    columns = plots.choose(facts["tasks"], most=24, what="tasks")
    tasks, shown = columns.names, shown.loc[rows.names, columns.names]
    mark = bold.loc[rows.names, columns.names].to_numpy()
    with plots.style():
        long = plots.text_width([str(t) for t in tasks], 6.5)
        width = max(plots.COLUMN, min(plots.PAGE, 1.4 + 0.4 * len(tasks)))
        fig = plots.figure(width, 0.2 + long + 0.16 * max(len(shown), 3))
        axes = fig.add_subplot()
        place = axes.imshow(np.where(mark, 1.0, 0.0), cmap=_pale(), vmin=0, vmax=1, aspect="auto")
        cell = (width - 0.1 - min(0.5 * width, plots.text_width(rows.names, 6.5))) / len(tasks)
        written = [plots.score_text(value) for value in shown.to_numpy(float).ravel() if np.isfinite(value)]
        size = min(6.0, 0.9 * cell / max(plots.text_width(written, 1, "bold"), 1e-9))
        for i in range(len(shown)):
            for j in range(len(tasks)):
                text = plots.score_text(float(shown.iloc[i, j])) if np.isfinite(shown.iloc[i, j]) else "–"
                # As wide as its cell: it cannot move the axes, and need not be measured for that.
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=size, weight="bold" if mark[i, j] else "normal",
                    in_layout=False,
                )  # fmt: skip
        axes.set_xticks(range(len(tasks)), tasks, rotation=90)
        axes.set_yticks(range(len(shown)), list(shown.index))
        for label, category in zip(axes.get_xticklabels(), map(facts["tasks"].get, tasks), strict=True):
            if category:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        place.axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        sampled = "" if tables[""]["is_exact"].all() else f", {facts['samples']:,} samples where not exact"
        holm = (
            " after Holm's correction"
            if facts["correction"] == "holm"
            else ", not corrected for the number of encoders"
        )
        note = f"Bold: not significantly worse than the best of the column (paired permutation test, p > {facts['alpha']:g}{holm}{sampled}). "
        note += "Test-sample noise only; one head each. "
        if len(missed):
            note += (
                f"Differences from {missed.min():.3f} to {missed.max():.3f} (by task) are found four times in five. "
            )
        note += rows.note + columns.note + facts["note"]
        handles = plots.category_handles(facts["tasks"].values())
        plots.titles(fig, "Who is not worse than the best", note, handles=handles)
    return {"": fig}


def _pale():  # type: ignore[no-untyped-def]
    from matplotlib.colors import ListedColormap

    return ListedColormap(["white", "#DCEBF5"])


def typeset(tables: Tables) -> Table:
    import numpy as np

    from virb.figures.plots import score_text
    from virb.figures.tables import Table

    facts, (wide, bold) = tables.facts, _bold(tables)
    metric = tables[""].drop_duplicates("task").set_index("task")["metric"]
    rows = [
        [str(name), *(score_text(value) if np.isfinite(value) else "–" for value in wide.loc[name].to_numpy(float))]
        for name in wide.index
    ]
    holm = ", Holm's correction" if facts["correction"] == "holm" else ""
    return Table(
        ["encoder", *(f"{task} {metric[task]}" for task in wide.columns)],
        rows,
        numbers=frozenset(range(1, len(wide.columns) + 1)),
        groups=["", *facts["tasks"].values()],
        best=frozenset((int(i), int(j) + 1) for i, j in zip(*np.nonzero(bold.to_numpy()), strict=True)),
        caption=f"Bold: the best of each task, and those that are not significantly worse (paired permutation test on the test examples"
        f"{holm}, p > {facts['alpha']:g}; one head each).",
    )


ANALYSIS = Analysis(
    name="significance",
    summary="Comparison table with the encoders not significantly worse than the best in bold",
    source="Chen et al. 2020, Table 8 and Appendix B.8",
    compute=compute,
    draw=draw,
    say=say,
    typeset=typeset,
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
