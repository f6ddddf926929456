"""Every task against one task (ImageNet in the paper), with a line and its interval, a panel for each category.

Kotar et al. 2021, Figure 4 and Question 2: does accuracy on the one task predict the others? Scores are standardised
over encoders, so that the slope of each line is the correlation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.families import FAMILY, basis_of, declared_families
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import adjust_p, correlation_matrix, score_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

#: What ImageNet's classification is called, without marks between.
IMAGENET = (
    "imagenet",
    "imagenetcls",
    "imagenet1k",
    "imagenet1kcls",
    "imagenetclassification",
    "imagenet1kclassification",
)


def compute(
    scores: DataFrame, notes: Notes, *, anchor: str, family: str, exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a task against the anchor; ``scores``: every score in sd over encoders, which is what is drawn."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    wide = score_table(data.wide)
    if anchor and anchor not in wide:
        raise UsageError(f"anchor={anchor!r} is no task of the scores; they have {', '.join(map(str, wide.columns))}.")
    if not anchor:
        likely = [t for t in wide if str(t).lower().replace("-", "").replace("_", "") in IMAGENET]
        anchor = likely[0] if likely else str(wide.columns[0])
    z = (wide - wide.mean()) / wide.std(ddof=0)
    others = [task for task in wide.columns if task != anchor]
    families = declared_families(data.frame, wide.index, notes, column=family)
    result = correlation_matrix(
        wide, interval="fisher" if families.labels is None else "jackknife", clusters=families.labels
    )
    table = pd.DataFrame({"task": others, "category": [data.categories[t] for t in others]})
    for name in ("r", "low", "high", "p"):
        table[name] = getattr(result, name).loc[anchor, others].to_numpy()
    table["p_bh"], table["n"], table["anchor"] = adjust_p(table["p"].to_numpy()), len(wide), anchor
    tables = Tables(
        {"": table, "scores": z.rename_axis("encoder").reset_index().melt("encoder", var_name="task", value_name="z")},
        anchor=anchor,
        n_encoders=len(wide),
        among=families.among,
        basis=basis_of(result, families),
        # The line's interval counts encoders: it is drawn only where they are.
        has_band=len(wide) > 3 and families.labels is None and not families.warning,
        note=data.note,
    )
    if families.members is not None:
        tables["families"] = families.members
    return tables


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    return [
        f"against {facts['anchor']}: n = {facts['n_encoders']} encoders{facts['among']}, "
        f"{int((table['p_bh'] < 0.05).sum())} of {len(table)} tasks with p < .05 (BH); {facts['basis']}"
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np
    from scipy import stats as scipy_stats

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    anchor, n = facts["anchor"], facts["n_encoders"]
    z = tables["scores"].pivot_table(index="encoder", columns="task", values="z", sort=False)
    panels = list(dict.fromkeys(table["category"]))
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    with plots.style():
        # A legend beside each panel has a line a task.
        longest = int(table["category"].value_counts().max())
        height = max(2.15, 0.3 + 0.125 * longest)
        fig = plots.figure(plots.PAGE if columns == 2 else plots.COLUMN * 1.4, height * rows)
        grid = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        x = np.linspace(float(z[anchor].min()), float(z[anchor].max()), 50)
        for axes, category in zip(grid.flat, panels, strict=False):
            part = table[table["category"] == category]
            shades = [*plots.OKABE_ITO[:6], *plots.TOL_MUTED]
            for k, row in enumerate(part.itertuples()):
                colour = shades[k % len(shades)]
                axes.scatter(z[anchor], z[row.task], s=5, color=colour, alpha=0.55, linewidth=0)
                mark = "*" if row.p_bh < 0.05 else ""
                value = f"{row.r:+.2f}".replace("-", "\u2212")
                axes.plot(x, row.r * x, color=colour, linewidth=1.1, label=f"{row.task}  {value}{mark}")
                if facts["has_band"]:
                    # Interval of the mean on the line: residual sd times the leverage, both in standard units.
                    residual = np.sqrt(max(1 - row.r**2, 0) * n / (n - 2))
                    half = scipy_stats.t.ppf(0.975, n - 2) * residual * np.sqrt((1 + x**2) / n)
                    axes.fill_between(x, row.r * x - half, row.r * x + half, color=colour, alpha=0.09, linewidth=0)
            axes.set_title(category or "all tasks", color=plots.darker(plots.category_colours([category])[category]))
            axes.grid()
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=6, handlelength=1.0, borderpad=0.1)
            axes.tick_params(labelbottom=True, labelleft=True)
        for axes in list(grid.flat)[len(panels) :]:
            axes.remove()
        # One wild score must not flatten all others: the axis ends at 4.5 sd, and the note says so.
        low_z, high_z = float(z.to_numpy().min()), float(z.to_numpy().max())
        pad = 0.05 * (high_z - low_z)
        grid[0, 0].set_ylim(max(-4.5, low_z - pad), min(4.5, high_z + pad))
        n_beyond = int((z.abs() > 4.5).to_numpy().sum())
        fig.supylabel("score (sd over encoders)", fontsize=7)
        note = (
            f"n = {n} encoders{facts['among']}; x: {anchor} (sd over encoders); numbers: Pearson r; * p < .05, "
            "Benjamini-Hochberg over "
        )
        note += f"{len(table)} task{'s' * (len(table) > 1)}; {facts['basis']}" + (
            "; bands: 95% of the line." if facts["has_band"] else "."
        )
        note += f" {n_beyond} scores lie beyond 4.5 sd." if n_beyond else ""
        plots.titles(fig, f"Does {anchor} predict the other tasks?", f"{note} {facts['note']}")
    return {"": fig}


ANALYSIS = Analysis(
    name="task-scatter",
    summary="Every task against one task (ImageNet in the paper), a panel for each category",
    source="Kotar et al. 2021, Figure 4",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
    min_tasks=2,
    options=(
        Option("anchor", "", "Task on the horizontal axis: ImageNet where there is one, else the first."),
        FAMILY,
        EXCLUDE,
        MISSING,
    ),
)
