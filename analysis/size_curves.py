"""Score against the number of pretraining images, epochs or labels, and the gain for each doubling.

Cole et al. 2022, Figures 2, 3 and A2; Hammoud et al. 2024, Figure 4 and Table 5. Saturation shows as a gain per
doubling that falls to nothing. Pitfall: more images at equal epochs is more compute as well (see the analysis budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, names_in_words
from virb.errors import ScoresError, UsageError
from virb.scores.layout import EXCLUDE, as_counts, task_categories
from virb.scores.roles import roles
from virb.scores.schema import as_words, encoder_table
from virb.stats.budget import gain_per_doubling

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def run(scores: DataFrame, out: Outputs, *, x: str, lines: str, exclude: tuple[str, ...]) -> None:
    import pandas as pd

    from virb.figures import plots

    parts = [name.strip() for name in lines.split("+")]
    kept = scores[~scores["task"].isin(exclude) & ~scores["encoder"].isin(exclude)].copy()
    if x not in kept or kept[x].isna().all():
        raise NotApplicable(f"The scores have no column {x} to draw against; choose another with --option x=COLUMN.")
    about = encoder_table(kept)
    of = roles(kept)
    if x in about:
        kept["x"] = kept["encoder"].map(
            as_counts(about[x].where(~_is_nought(about[x])), x, out.lines)
        )  # 0: not pretrained
        nought = list(about.index[_is_nought(about[x])])
        if nought:
            out.say(f"left out, {x} being 0: {names_in_words(nought)}")
    else:
        kept["x"] = as_counts(kept[x].set_axis(kept["encoder"].to_numpy()), x, out.lines).to_numpy()
    kept = kept[kept["x"].notna()]
    if kept.empty:
        raise NotApplicable(f"No value of {x} is a positive number.")
    for column in ("probe", "labels"):
        if column in kept and column != x and column not in parts and kept[column].nunique(dropna=False) > 1:
            found = names_in_words(sorted(as_words(kept[column]).unique()))
            raise ScoresError(
                f"The scores mix several values of {column} ({found}), which must not be averaged. Draw a line for each: "
                f"--option lines={lines}+{column}; or keep the rows of one."
            )
    texts = []
    for name in parts:
        if name in about:
            texts.append(kept["encoder"].map(as_words(about[name])))
        elif name in ("probe", "labels") and name in kept:
            texts.append(as_words(kept[name]))
        elif name == "role" or (len(parts) == 1 and name == "method"):
            texts.append(kept["encoder"].map(of))
        else:
            raise UsageError(f"lines={lines}: {name!r} is no column; there are {names_in_words(list(about), 12)}.")
    kept["line"] = texts[0].str.cat(texts[1:], sep=", ") if len(texts) > 1 else texts[0]
    curves = kept.groupby(["task", "line", "x"], sort=False)["score"].agg(["mean", "min", "max", "count"]).reset_index()
    lengths = curves.groupby(["task", "line"])["x"].transform("nunique")
    curves = curves[lengths > 1].sort_values(["task", "line", "x"], kind="stable")
    if curves.empty:
        raise NotApplicable(f"No {lines} has two values of {x}; there is no curve to draw.")
    members = kept.groupby(["line", "x"], sort=False)["encoder"].agg(lambda part: " + ".join(dict.fromkeys(part)))
    curves["encoders"] = [members[row.line, row.x] for row in curves.itertuples()]
    curves = curves.rename(columns={"x": x, "line": lines, "mean": "score"})
    out.table(curves)
    gains = [
        gain_per_doubling(part[x], part["score"]).assign(task=task, line=line)
        for (task, line), part in curves.groupby(["task", lines], sort=False)
    ]
    doubling = pd.concat(gains, ignore_index=True).rename(columns={"line": lines})
    out.table(doubling, "doublings")
    _say_gaps(curves, x, lines, kept, of, out)
    last = doubling[doubling["n_to"] == doubling["n_to"].max()]["per_doubling"].mean()
    out.say(
        f"gain for each doubling of {x} at the largest sizes: {last:+.4f} on average; positive in "
        f"{(doubling['gain'] > 0).mean():.0%} of steps"
    )
    categories = task_categories(kept)
    tasks = [task for task in categories.index if task in set(curves["task"])]
    shades = plots.palette(curves[lines])
    with plots.style():
        columns = min(4, len(tasks))
        rows = -(-len(tasks) // columns)
        fig = plots.figure(plots.COLUMN if columns < 3 else plots.PAGE, 1.35 * rows + 0.2)
        grid = fig.subplots(rows, columns, squeeze=False)
        for axes, task in zip(grid.flat, tasks, strict=False):
            for line, part in curves[curves["task"] == task].groupby(lines, sort=False):
                axes.plot(part[x], part["score"], "-o", color=shades[line], markersize=2.5)
                if (part["count"] > 1).any():
                    axes.fill_between(part[x], part["min"], part["max"], color=shades[line], alpha=0.13, linewidth=0)
            category = categories[task]
            axes.set_title(
                str(task),
                fontsize=6.5,
                color=plots.darker(plots.category_colours([category])[category]) if category else plots.BLACK,
            )
            plots.log_counts(axes, curves.loc[curves["task"] == task, x], most=3)
            axes.tick_params(axis="y", labelsize=5.8)
            axes.locator_params(axis="y", nbins=4)
            axes.grid(axis="y")
        for axes in list(grid.flat)[len(tasks) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel("score")
        band = " Bands: range over encoders and seeds." if (curves["count"] > 1).any() else ""
        plots.titles(
            fig,
            f"Score against {x}",
            f"Horizontal: {x}, logarithmic. Lines: mean of each {lines}.{band}",
            handles=plots.colour_handles(shades),
        )
    out.figure(fig)


def _say_gaps(curves: DataFrame, x: str, lines: str, kept: DataFrame, of: Series, out: Outputs) -> None:
    """Table every line's distance from the supervised one at the same place (Cole Figures 2, 3; Chen Figure 7)."""
    import pandas as pd

    supervised = {
        line for line, encoder in zip(kept["line"], kept["encoder"], strict=True) if of[encoder] == "supervised"
    }
    base = curves[curves[lines].isin(supervised)].groupby(["task", x])["score"].mean()
    rows = [
        (row["task"], row[lines], row[x], row["score"] - base[row["task"], row[x]])
        for row in curves[~curves[lines].isin(supervised)].to_dict("records")
        if (row["task"], row[x]) in base.index
    ]
    if not rows:
        return
    gaps = pd.DataFrame(rows, columns=["task", lines, x, "less_supervised"])
    out.table(gaps, "gaps")
    last = gaps.loc[gaps.groupby(["task", lines])[x].idxmax()]
    for line, part in last.groupby(lines, sort=False):
        out.say(
            f"{line} less supervised at the largest {x}: {part['less_supervised'].mean():+.4f} on average over tasks"
        )


def _is_nought(values: Series) -> Series:
    return as_words(values, missing="").isin(["0", "0.0"])


ANALYSIS = Analysis(
    name="size-curves",
    summary="Score against pretraining images, epochs or labels, and the gain for each doubling",
    source="Cole et al. 2022, Figures 2, 3 and A2; Hammoud et al. 2024, Figure 4 and Table 5",
    run=run,
    options=(
        Option("x", "dataset_size", "Column on the horizontal axis: dataset_size, epochs, images_seen, labels, ..."),
        Option("lines", "method", "Columns, joined by +, that make the lines: method, arch, probe, labels, ..."),
        EXCLUDE,
    ),
)
