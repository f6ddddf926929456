"""How many axes the tasks have, which task lies on which, which are redundant, and where encoders stand.

Parallel analysis (Horn 1965; Glorfeld's 95th percentile) over permuted columns, bi-cross-validation (Owen and Perry 2009), principal axes
turned by varimax. Pitfalls: encoders of a family share an axis that tasks do not have, so that axes are counted over family means where
families are declared; after a strong first axis the bound for later ones is too high; loadings turn freely, and only what they span is
found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.scores.families import FAMILY, declared_families
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import METHODS
from virb.stats.factors import ALIKE, axes, bi_cross_validation, family_means, parallel_analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    n_axes: int,
    method: str,
    samples: int,
    family: str,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row a task: loadings, their standard errors, the most alike task; ``eigenvalues``; ``encoders`` on the axes."""
    import numpy as np
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    wide = data.wide
    families = declared_families(data.frame, wide.index, notes, column=family)
    x = wide.to_numpy(float)
    ranks = wide.rank().to_numpy(float)
    values = ranks if method == "spearman" else x
    found = {"encoders": parallel_analysis(values, samples=samples)}
    if families.labels is not None and families.n >= 4:
        means = family_means(x, families.labels)
        varies = means.std(axis=0) > 0
        means = means[:, varies]
        found["families"] = parallel_analysis(
            pd.DataFrame(means).rank().to_numpy(float) if method == "spearman" else means, samples=samples
        )
    counted = list(found)[-1]
    rows = [
        (name, k + 1, one.eigenvalues[k], one.mean[k], one.bound[k], k < one.n_axes)
        for name, one in found.items()
        for k in range(len(one.eigenvalues))
    ]
    held_out = bi_cross_validation(values, labels=families.labels) if min(x.shape) >= 6 else np.array([])
    # By encoders and by families: the smaller number is what both see.
    kept = min(n_axes or max(1, min(one.n_axes for one in found.values())), min(x.shape) - 1)
    placed = axes(values, kept, labels=families.labels)
    r = np.corrcoef(ranks.T)
    np.fill_diagonal(r, -2)
    table = pd.DataFrame({"task": wide.columns, "category": data.categories.to_numpy()})
    for k in range(kept):
        table[f"axis_{k + 1}"], table[f"se_{k + 1}"] = placed.loadings[:, k], placed.se[:, k]
    table["communality"] = (placed.loadings**2).sum(axis=1)
    table["most_alike"] = wide.columns.to_numpy()[r.argmax(axis=1)]
    table["rho"] = r.max(axis=1)
    where = pd.DataFrame(placed.places, columns=[f"axis_{k + 1}" for k in range(kept)])
    where.insert(0, "encoder", wide.index)
    alike = sorted(
        {
            tuple(sorted((str(a), str(b))))
            for a, b, rho in zip(table["task"], table["most_alike"], table["rho"], strict=True)
            if rho >= ALIKE
        }
    )
    return Tables(
        {
            "": table,
            "eigenvalues": pd.DataFrame(rows, columns=["over", "axis", "eigenvalue", "unrelated", "bound", "is_kept"]),
            "encoders": where,
        },
        counted=counted,
        n_axes={name: one.n_axes for name, one in found.items()},
        n_by_mean={name: one.n_by_mean for name, one in found.items()},
        n={name: one.n for name, one in found.items()},
        n_shown=kept,
        shares=[float(share) for share in placed.shares],
        held_out=[float(error) for error in held_out],
        alike=[list(pair) for pair in alike],
        method=method,
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    facts, eigen = tables.facts, tables["eigenvalues"]
    lines = []
    for name, n in facts["n"].items():
        part = eigen[eigen["over"] == name].head(3)
        said = ", ".join(f"{row.eigenvalue:.2f} (bound {row.bound:.2f})" for row in part.itertuples())
        alone = "" if name == "families" or len(facts["n"]) > 1 else ", counted as independent"
        lines.append(
            f"over {n} {name}{alone}: eigenvalues {said}: {facts['n_axes'][name]} ax{'i' if facts['n_axes'][name] == 1 else 'e'}s beyond unrelated tasks at the 95th "
            f"percentile ({facts['n_by_mean'][name]} by the mean); {facts['method']}"
        )
    if facts["held_out"]:
        best = min(range(len(facts["held_out"])), key=lambda k: facts["held_out"][k])
        lines.append(
            f"held-out blocks are predicted best with {best} axes (error {facts['held_out'][best]:.2f}; {facts['held_out'][0]:.2f} with none, "
            f"{facts['held_out'][1]:.2f} with one)"
        )
    lines.append(
        "shares of the tasks' variance: "
        + ", ".join(f"axis {k + 1} {share:.0%}" for k, share in enumerate(facts["shares"]))
    )
    pairs = [" and ".join(pair) for pair in facts["alike"]]
    lines.append(
        f"order encoders almost alike (rho >= {ALIKE:g}): {names_in_words(pairs) if pairs else 'no two tasks'}"
    )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    return {"": _draw_loadings(tables), "eigenvalues": _draw_eigenvalues(tables)}


def _draw_loadings(tables: Tables) -> Figure:
    from virb.figures import plots

    facts = tables.facts
    k = int(facts["n_shown"])
    table = tables[""].sort_values("axis_1", ascending=False, kind="stable")
    chosen = plots.choose(table["task"], what="tasks")
    table = table[table["task"].isin(set(chosen.names))]
    colours = plots.category_colours(table["category"])
    with plots.style():
        fig = plots.figure(plots.width_for(chosen.names) if k < 3 else plots.PAGE, plots.bars_height(chosen.n_rows))
        panels = fig.subplots(1, k, sharey=True, squeeze=False)[0]
        for j, axes_ in enumerate(panels):
            values, se = table[f"axis_{j + 1}"], table[f"se_{j + 1}"]
            for place, value, error, category in zip(chosen.places, values, se, table["category"], strict=True):
                shade = plots.darker(colours[category]) if category else plots.BLACK
                axes_.hlines(
                    place, max(-1.0, value - 2 * error), min(1.0, value + 2 * error), color=shade, linewidth=0.8
                )
                axes_.plot(value, place, "o", color=shade, markersize=3, markeredgewidth=0)
            axes_.axvline(0, color=plots.BLACK, linewidth=0.6)
            axes_.set_xlim(max(-1.05, min(-0.3, float((values - 2 * se).min()) - 0.03)), 1.05)
            axes_.set_xlabel(f"loading, axis {j + 1} ({facts['shares'][j]:.0%})")
            axes_.grid(axis="x")
            axes_.tick_params(axis="y", length=0)
        chosen.label_rows(panels[0])
        turned = " Varimax." if k > 1 else ""
        note = f"{facts['method'].capitalize()} correlations; lines: 2 standard errors (within ±1), {facts['counted']} left out in turn.{turned} {chosen.note}{facts['note']}"
        plots.titles(fig, "Tasks on the axes", note, handles=plots.category_handles(table["category"]))
    return fig


def _draw_eigenvalues(tables: Tables) -> Figure:
    from virb.figures import plots

    eigen, facts = tables["eigenvalues"], tables.facts
    with plots.style():
        fig = plots.figure(plots.COLUMN, 1.8)
        axes_ = fig.add_subplot()
        for name, colour in zip(facts["n"], plots.OKABE_ITO, strict=False):
            part = eigen[eigen["over"] == name].head(12)
            axes_.plot(part["axis"], part["eigenvalue"], "-o", color=colour, markeredgewidth=0)
            axes_.plot(part["axis"], part["bound"], "--", color=colour, linewidth=0.8)
        axes_.set_yscale("log")
        axes_.set_ylim(0.1, None)
        axes_.yaxis.set_major_formatter("{x:g}")
        axes_.xaxis.get_major_locator().set_params(integer=True)
        axes_.set_xlabel("axis")
        axes_.set_ylabel("eigenvalue")
        axes_.grid()
        handles = [
            plots.Patch(facecolor=c, label=f"over {n} {name}", linewidth=0)
            for (name, n), c in zip(facts["n"].items(), plots.OKABE_ITO, strict=False)
        ]
        note = f"Dashed: 95th percentile of unrelated tasks. Axes kept: {', '.join(f'{v} over {k}' for k, v in facts['n_axes'].items())}."
        plots.titles(fig, "How many axes", note, handles=handles)
    return fig


ANALYSIS = Analysis(
    name="factors",
    summary="How many axes the tasks have, what loads where, which tasks are redundant, and where encoders stand",
    source="Horn 1965; Owen and Perry 2009",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=4,
    min_tasks=3,
    options=(
        Option(
            "n_axes",
            0,
            "Axes that tasks and encoders are placed on; 0: as many as parallel analysis finds, at least one.",
            type=int,
        ),
        Option("method", "spearman", "Correlation: of ranks, or of scores.", choices=METHODS),
        Option("samples", 400, "Permutations of the columns.", type=int),
        FAMILY,
        EXCLUDE,
        MISSING,
    ),
)
