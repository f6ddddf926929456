"""Correlation between end tasks over encoders: Pearson and Spearman heatmaps with intervals and corrected p.

Kotar et al. 2021, Section 5 and Figures 13 and 14: pockets of correlation inside the four categories of end tasks.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.families import FAMILY, basis_of, declared_families
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.stats.correlation import METHODS, correlation_matrix, leave_one_out_range
from virb.stats.effects import detectable_correlation
from virb.stats.exact import EXACT_UP_TO
from virb.stats.families import between_families

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

ADJUSTED_BY = {"bh": "Benjamini-Hochberg", "holm": "Holm", "max": "max-statistic permutation"}


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    interval: str,
    adjustment: str,
    alpha: float,
    resamples: int,
    family: str,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row a pair of tasks and method; ``families``: who is of which, where families count."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True)
    wide, categories = data.wide, data.categories
    families = declared_families(data.frame, wide.index, notes, column=family)
    if families.labels is not None:
        # Shuffled encoders are no null for families, so that the largest of all is taken from resampled families.
        interval = "bootstrap" if adjustment == "max" or interval == "bootstrap" else "jackknife"
    elif interval == "jackknife":
        interval = "fisher"
    parts, basis = [], {}
    for method in METHODS:
        result = correlation_matrix(
            wide, method, interval=interval, adjustment=adjustment, resamples=resamples, clusters=families.labels
        )
        basis[method] = basis_of(result, families)
        tidy = result.tidy()
        tidy.insert(0, "method", method)
        if families.labels is not None:
            between = between_part(wide, method, families.labels)
            tidy["between_families"] = [between.loc[row.task_a, row.task_b] for row in tidy.itertuples()]
            tidy["within_families"] = tidy["r"] - tidy["between_families"]
        if result.n > 3:
            # The range of r when any one encoder is left out says whether a single one makes the correlation.
            smallest, largest = leave_one_out_range(wide, method)
            places = [(row.task_a, row.task_b) for row in tidy.itertuples()]
            tidy["leave_one_out_low"] = [smallest.loc[place] for place in places]
            tidy["leave_one_out_high"] = [largest.loc[place] for place in places]
        tidy["detectable"] = detectable_correlation(result.n) if result.n > 3 else float("nan")
        parts.append(tidy)
    table = pd.concat(parts, ignore_index=True)
    for side in ("a", "b"):
        table[f"category_{side}"] = categories.loc[table[f"task_{side}"]].to_numpy()
    table["confidence"], table["interval"], table["adjustment"] = result.confidence, result.interval, adjustment
    tables = Tables(
        {"": table},
        tasks=dict(categories),
        n_encoders=result.n,
        among=families.among,
        n_families=families.n if families.labels is not None else 0,
        basis=basis,
        alpha=alpha,
        note=data.note,
    )
    if families.members is not None:
        tables["families"] = families.members
    return tables


def between_part(wide: DataFrame, method: str, labels: list[str]) -> DataFrame:
    """The part of every r that lies between families, labelled by task."""
    import pandas as pd

    values = wide.rank() if method == "spearman" else wide
    return pd.DataFrame(between_families(values.to_numpy(float), labels), index=wide.columns, columns=wide.columns)


def say(tables: Tables) -> list[str]:
    facts, lines = tables.facts, []
    n, alpha = facts["n_encoders"], facts["alpha"]
    for method, tidy in tables[""].groupby("method", sort=False):
        n_pairs, adjustment = len(tidy), tidy["adjustment"].iloc[0]
        is_found = tidy["p_adjusted"] < alpha
        lines.append(
            f"{method}: n = {n} encoders{facts['among']}, {n_pairs} pair{'s' * (n_pairs > 1)} of tasks, "
            f"{int((tidy['p'] < alpha).sum())} with p < {alpha:g}, {int(is_found.sum())} after "
            f"{ADJUSTED_BY[adjustment]} correction{_impossible(n, n_pairs, adjustment, alpha)}; {facts['basis'][method]}"
        )
        if facts["n_families"]:
            lines.append(f"{method}: {_shares(tidy)}")
        if n > 3:
            fragile = is_found & (tidy["leave_one_out_low"] * tidy["leave_one_out_high"] < 0)
            if fragile.any():
                lines.append(f"{method}: {int(fragile.sum())} of those change sign when one encoder is left out")
        same = tidy["category_a"] == tidy["category_b"]
        if same.any() and not same.all():
            lines.append(
                f"{method}: mean r {_signed(tidy.loc[same, 'r'].mean())} inside categories, "
                f"{_signed(tidy.loc[~same, 'r'].mean())} between them"
            )
    if n > 3:
        lines.append(
            f"|r| from {detectable_correlation(n):.2f} is found four times in five with n = {n} independent "
            "encoders (one pair, uncorrected)"
        )
    if n < 10:
        lines.append(f"with {n} encoders only very large correlations can be told from none: read the intervals")
    return lines


def _shares(tidy: DataFrame) -> str:
    return (
        f"of the mean r of {_signed(tidy['r'].mean())}, {_signed(tidy['between_families'].mean())} lies between "
        f"families and {_signed(tidy['within_families'].mean())} within"
    )


def _impossible(n: int, n_pairs: int, adjustment: str, alpha: float) -> str:
    """Say where so few encoders cannot reach the corrected level with any scores."""
    if n > EXACT_UP_TO or adjustment == "max":
        return ""
    smallest = 2 / math.factorial(n)
    least = smallest if adjustment == "bh" else min(1.0, smallest * n_pairs)
    return f" (impossible: with {n} encoders it cannot fall below {least:.2g})" if least >= alpha else ""


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212")


def draw(tables: Tables) -> dict[str, Figure]:
    """A heatmap of each method's r."""
    return {str(method): _heatmap(tidy, tables) for method, tidy in tables[""].groupby("method", sort=False)}


def _heatmap(tidy: DataFrame, tables: Tables) -> Figure:
    """Heatmap of r with the cells significant after correction marked, and a box round each category."""
    import matplotlib as mpl
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    facts, method = tables.facts, tidy["method"].iloc[0]
    alpha, n, adjustment = facts["alpha"], facts["n_encoders"], tidy["adjustment"].iloc[0]
    both = pd.concat([tidy, tidy.rename(columns={"task_a": "task_b", "task_b": "task_a"})])
    squares = {
        name: both.pivot_table(index="task_a", columns="task_b", values=name, dropna=False).reindex(
            index=list(facts["tasks"]), columns=list(facts["tasks"])
        )
        for name in ("r", "low", "high", "p_adjusted")
    }
    order = squares["r"].mean().sort_values(ascending=False, kind="stable").index
    chosen = plots.choose(order, what="tasks, by their mean r,")
    names = [task for task in facts["tasks"] if task in set(chosen.names)]
    categories = [facts["tasks"][task] for task in names]
    r, low, high, p = (squares[name].loc[names, names].to_numpy() for name in ("r", "low", "high", "p_adjusted"))
    significant, size = p < alpha, len(names)
    colours = plots.category_colours(categories)
    has_numbers = size <= 10
    with plots.style():
        # The matrix takes what the labels leave of the column; the height follows, so that no cell is stretched.
        right, width = 0.42, plots.COLUMN if size <= 26 else plots.PAGE
        font, cell, longest, short = 7.0, 0.0, 0.0, names
        for _ in range(8):
            short = plots.shortened_names(names, font, 0.4 * width)
            longest = plots.text_width(short, font) + 0.06
            cell = min(0.52, (width - longest - 0.1 - right) / size)
            font = min(font, max(4.2, 0.92 * 72 * cell))
        side = cell * size
        height = side + longest + 0.12
        fig = plots.figure(width, height, layout=None)
        left = longest + 0.1
        axes = fig.add_axes((left / width, (longest + 0.06) / height, side / width, side / height))
        colour_map = mpl.colormaps[plots.DIVERGING]
        image = axes.imshow(r, cmap=colour_map.with_extremes(bad=plots.LIGHT), vmin=-1, vmax=1)
        axes.set_xticks(np.arange(size), short, rotation=90, fontsize=font)
        axes.set_yticks(np.arange(size), short, fontsize=font)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_tick_params(length=0, pad=3)
            for label, category in zip(axis.get_ticklabels(), categories, strict=True):
                label.set_color(plots.darker(colours[category]) if category else plots.BLACK)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8 if has_numbers else 0.4)
        axes.tick_params(which="minor", length=0)
        dots: list[tuple[int, int, str]] = []
        off = list(zip(*np.nonzero(~np.eye(size, dtype=bool)), strict=True))
        texts = {(i, j): _short(r[i, j]) for i, j in off}
        if size <= 4:
            bounds = {(i, j): (_short(low[i, j]), _short(high[i, j])) for i, j in off}
            texts = {place: f"{text}\n[{bounds[place][0]}, {bounds[place][1]}]" for place, text in texts.items()}
        # The widest line of all takes at most nine tenths of its cell (bold is a tenth wider).
        widest = plots.text_width([line for text in texts.values() for line in text.splitlines()], 1)
        points = min(6.5, 0.82 * cell / max(widest, 1e-9))
        for i, j in off:
            ink = plots.text_on(colour_map((r[i, j] + 1) / 2))
            if has_numbers:
                weight = "bold" if significant[i, j] else "normal"
                axes.text(
                    j,
                    i,
                    texts[i, j],
                    ha="center",
                    va="center",
                    color=ink,
                    fontsize=points,
                    weight=weight,
                    linespacing=1.4,
                )
            elif significant[i, j]:
                dots.append((j, i, ink))
        if dots:
            x, y, inks = zip(*dots, strict=True)
            axes.scatter(x, y, s=max(0.9, 72 * cell * 0.22) ** 2, c=inks, linewidth=0, zorder=3)
        plots.box_categories(axes, categories)
        bar_axes = fig.add_axes(((left + side + 0.08) / width, (longest + 0.06) / height, 0.07 / width, side / height))
        bar = fig.colorbar(image, cax=bar_axes, ticks=[-1, -0.5, 0, 0.5, 1], format=lambda value, _: _short(value))
        bar.outline.set_visible(False)
        bar_axes.tick_params(length=0, labelsize=6, pad=2)
        of = f" of {facts['n_families']} families" if facts["n_families"] else ""
        what = {"pearson": "Pearson r", "spearman": "Spearman \u03c1"}[method]
        basis = "; ".join(filter(None, (facts["basis"][method], _shares(tidy) if facts["n_families"] else "")))
        note = f"{chosen.note}{'Bold' if has_numbers else 'Dot'}: p < {alpha:g}, {ADJUSTED_BY[adjustment]} over "
        note += f"{len(tidy)} pair{'s' * (len(tidy) > 1)}; {basis}."
        if size <= 4:
            note += f" [{100 * tidy['confidence'].iloc[0]:g}% interval]."
        if n > 3:
            note += f" |r| from {_short(detectable_correlation(n))} is found four times in five (one pair)."
        plots.titles(
            fig,
            f"{what}, n = {n} encoders{of}",
            f"{note} {facts['note']}",
            handles=plots.category_handles(categories),
            ncols=2,
        )
    return fig


def _short(value: float) -> str:
    """Two digits without the leading zero, and no minus before a zero: .65, −.10, 0, 1."""
    text = f"{value:.2f}"
    if float(text) == 0:
        text = "0"
    elif value in (-1.0, 1.0):
        text = f"{value:.0f}"
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "\u2212")


ANALYSIS = Analysis(
    name="correlation",
    summary="Correlation between end tasks over encoders, with intervals and corrected p",
    source="Kotar et al. 2021, Figures 13 and 14",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=3,
    min_tasks=2,
    options=(
        Option(
            "interval",
            "fisher",
            "Interval of r: Fisher's z or a bootstrap over encoders; where families are declared, the jackknife over them "
            "unless the bootstrap, which is too narrow for them, is asked for.",
            choices=("fisher", "bootstrap", "jackknife"),
        ),
        Option("adjustment", "bh", "Correction of p over all pairs.", choices=("bh", "holm", "max")),
        Option("alpha", 0.05, "Level below which a corrected p is marked.", type=float),
        Option("resamples", 10_000, "Bootstrap resamples, or permutations.", type=int),
        FAMILY,
        EXCLUDE,
        MISSING,
    ),
)
