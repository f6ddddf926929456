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
    from numpy import ndarray
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
    import numpy as np
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    wide = score_table(data.wide)
    if anchor and anchor not in wide:
        raise UsageError(f"anchor={anchor!r} is no task of the scores; they have {', '.join(map(str, wide.columns))}.")
    likely = [t for t in wide if str(t).lower().replace("-", "").replace("_", "") in IMAGENET]
    is_picked = not anchor and not likely
    z = (wide - wide.mean()) / wide.std(ddof=0)
    families = declared_families(data.frame, wide.index, notes, column=family)
    result = correlation_matrix(
        wide, interval="fisher" if families.labels is None else "jackknife", clusters=families.labels
    )
    if not anchor:
        mean_r = result.r.mean().sort_values(ascending=False, kind="stable")
        anchor = str(likely[0] if likely else mean_r.index[0])
    others = [task for task in wide.columns if task != anchor]
    table = pd.DataFrame({"task": others, "category": [data.categories[t] for t in others]})
    for name in ("r", "low", "high", "p"):
        table[name] = getattr(result, name).loc[anchor, others].to_numpy()
    # An anchor that was picked for its r has been tried against all: every pair of tasks counts.
    tried = result.p.to_numpy()[np.triu_indices(len(wide.columns), 1)] if is_picked else table["p"].to_numpy()
    table["p_bh"] = adjusted_among(table["p"].to_numpy(), tried)
    table["n"], table["anchor"] = len(wide), anchor
    if is_picked:
        notes.say(
            f"no task is ImageNet; against {anchor}, which goes with the others best in these scores, so that its r are "
            f"flattered and p are corrected over all {len(tried)} pairs of tasks (--option anchor=TASK for another)"
        )
    # Column by column, whatever the tasks are called.
    drawn = pd.DataFrame(
        {"encoder": np.tile(z.index, z.shape[1]), "task": np.repeat(z.columns, len(z)), "z": z.to_numpy().T.ravel()}
    )
    tables = Tables(
        {"": table, "scores": drawn},
        anchor=anchor,
        is_picked=is_picked,
        n_tried=len(tried),
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


def adjusted_among(p: ndarray, tried: ndarray) -> ndarray:
    """Benjamini-Hochberg p of some of the tests that were tried."""
    import numpy as np

    every = np.sort(tried[np.isfinite(tried)])
    adjusted = adjust_p(every)
    found = np.clip(np.searchsorted(every, p), 0, max(len(every) - 1, 0))
    return np.where(np.isfinite(p), adjusted[found] if len(every) else np.nan, np.nan)


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
    n_grey = 0
    with plots.style():
        fig = plots.figure(plots.PAGE, 2.1 * rows if columns == 2 else 2.4)
        grid = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        x = np.linspace(float(z[anchor].min()), float(z[anchor].max()), 50)
        for axes, category in zip(grid.flat, panels, strict=False):
            part = table[table["category"] == category].sort_values("r", ascending=False, kind="stable")
            # Colours and a legend have room for ten lines: the steepest, the flattest, and the others in grey.
            chosen = plots.choose(part["task"], most=10)
            shades = dict(zip(chosen.names, [*plots.OKABE_ITO[:6], *plots.TOL_MUTED], strict=False))
            n_grey += len(part) - len(shades)
            for row in part.itertuples():
                if row.task not in shades:
                    axes.plot(x, row.r * x, color=plots.LIGHT, linewidth=0.7, zorder=0.5)
                    continue
                colour = shades[row.task]
                axes.scatter(
                    z[anchor], z[row.task], s=5 if n <= 1000 else 1, color=colour, alpha=0.55, linewidth=0,
                    rasterized=z.size > plots.MOST_MARKS,
                )  # fmt: skip
                mark = "*" if row.p_bh < 0.05 else ""
                value = f"{row.r:+.2f}".replace("-", "\u2212")
                axes.plot(
                    x,
                    row.r * x,
                    color=colour,
                    linewidth=1.1,
                    label=f"{plots.shortened(row.task, 6, 1.1)}  {value}{mark}",
                )
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
        for k, axes in enumerate(list(grid.flat)[: len(panels)]):
            axes.set_xlabel(f"{anchor} (sd)")
            if k % columns == 0:
                axes.set_ylabel("score (sd over encoders)")
        tried = (
            f"{facts['n_tried']} pair{'s' * (facts['n_tried'] > 1)} of tasks"
            if facts["is_picked"]
            else f"{len(table)} task{'s' * (len(table) > 1)}"
        )
        note = f"n = {n} encoders{facts['among']}; numbers: Pearson r; * p < .05, Benjamini-Hochberg over {tried}; {facts['basis']}"
        note += "; bands: 95% of the line." if facts["has_band"] else "."
        note += f" {anchor} was picked as it goes with the others best, which flatters r." if facts["is_picked"] else ""
        note += f" Grey lines: {n_grey} more tasks; the table has all." if n_grey else ""
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
        Option(
            "anchor",
            "",
            "Task on the horizontal axis: ImageNet where there is one, else the one that goes with the others best.",
        ),
        FAMILY,
        EXCLUDE,
        MISSING,
    ),
)
