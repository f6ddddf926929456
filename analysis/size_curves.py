"""Score against the number of pretraining images, epochs or labels, and the gain for each doubling.

Cole et al. 2022, Figures 2, 3 and A2; Hammoud et al. 2024, Figure 4 and Table 5. Saturation shows as a gain per
doubling that falls to nothing. Pitfall: more images at equal epochs is more compute as well (see the analysis budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError
from virb.records.columns import LABELS
from virb.records.names import without_overrides
from virb.scores.layout import EXCLUDE, as_counts, task_categories
from virb.scores.roles import roles
from virb.scores.schema import as_words, encoder_table
from virb.stats.budget import gain_per_doubling

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series


def compute(scores: DataFrame, notes: Notes, *, x: str, lines: str, exclude: tuple[str, ...]) -> Tables:
    """A row a point of a line (also of a line of one point); ``doublings``: the steps of each curve; ``gaps``: distances
    from the supervised line at the same place."""
    import pandas as pd

    kept = scores[~scores["task"].isin(exclude) & ~scores["encoder"].isin(exclude)].copy()
    x = x or next((name for name in LABELS if name in kept and kept[name].nunique() > 1), "dataset_size")
    if x in LABELS and "probe" in kept:
        kept["probe"] = kept["probe"].map(lambda name: without_overrides(name, LABELS), na_action="ignore")
    if x not in kept or kept[x].isna().all():
        raise NotApplicable(f"The scores have no column {x} to draw against; choose another with --option x=COLUMN.")
    about = encoder_table(kept)
    of = roles(kept)
    if x in about:
        kept["x"] = kept["encoder"].map(as_counts(about[x].where(~_is_nought(about[x])), x, notes))  # 0: not pretrained
        nought = list(about.index[_is_nought(about[x])])
        if nought:
            notes.say(f"left out, {x} being 0: {names_in_words(nought)}")
    else:
        kept["x"] = as_counts(kept[x].set_axis(kept["encoder"].to_numpy()), x, notes).to_numpy()
    kept = kept[kept["x"].notna()]
    if kept.empty:
        raise NotApplicable(f"No value of {x} is a positive number.")
    lines = lines or _usual_lines(about, x, notes)
    parts = [name.strip() for name in lines.split("+")]
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
        elif name in ("encoder", "probe", "labels") and name in kept:
            texts.append(as_words(kept[name]))
        elif name == "role" or (len(parts) == 1 and name == "method"):
            texts.append(kept["encoder"].map(of))
        else:
            raise UsageError(f"lines={lines}: {name!r} is no column; there are {names_in_words(list(about), 12)}.")
    kept["line"] = texts[0].str.cat(texts[1:], sep=", ") if len(texts) > 1 else texts[0]
    curves = kept.groupby(["task", "line", "x"], sort=False)["score"].agg(["mean", "min", "max", "count"]).reset_index()
    curves = curves.sort_values(["task", "line", "x"], kind="stable")
    is_curve = curves.groupby(["task", "line"])["x"].transform("nunique") > 1
    if not is_curve.any():
        raise NotApplicable(
            f"No {lines} has two values of {x}; there is no curve to draw. Other lines: --option lines=COLUMN+COLUMN."
        )
    members = kept.groupby(["line", "x"], sort=False)["encoder"].agg(lambda part: " + ".join(dict.fromkeys(part)))
    curves["encoders"] = [members[row.line, row.x] for row in curves.itertuples()]
    categories = task_categories(kept)
    curves = curves.rename(columns={"x": x, "line": lines, "mean": "score"})
    doubling = [
        gain_per_doubling(part[x], part["score"]).assign(task=task, line=line)
        for (task, line), part in curves[is_curve].groupby(["task", lines], sort=False)
    ]
    tables = Tables(
        {"": curves, "doublings": pd.concat(doubling, ignore_index=True).rename(columns={"line": lines})},
        x=x,
        lines=lines,
        tasks={task: categories[task] for task in categories.index if task in set(curves["task"])},
    )
    supervised = {
        line for line, encoder in zip(kept["line"], kept["encoder"], strict=True) if of[encoder] == "supervised"
    }
    gaps = _gaps(curves, x, lines, supervised)
    if len(gaps):
        tables["gaps"] = gaps
    return tables


def _usual_lines(about: DataFrame, x: str, notes: Notes) -> str:
    """A line for each encoder against labels; else for each method, of each data set where one method has several: another data set is not more of the same."""
    if x in LABELS:
        return "encoder"
    if "method" not in about or "dataset" not in about or x == "dataset":
        return "method"
    several = about.groupby(as_words(about["method"]))["dataset"].nunique()
    if (several <= 1).all():
        return "method"
    notes.say(
        "a line for each method and data set, as another data set is not more of the same (--option lines=method joins them)"
    )
    return "method+dataset"


def _gaps(curves: DataFrame, x: str, lines: str, supervised: set[str]) -> DataFrame:
    """Every line's distance from the supervised one at the same place (Cole Figures 2, 3; Chen Figure 7)."""
    import pandas as pd

    base = curves[curves[lines].isin(supervised)].groupby(["task", x])["score"].mean()
    rows = [
        (row["task"], row[lines], row[x], row["score"] - base[row["task"], row[x]])
        for row in curves[~curves[lines].isin(supervised)].to_dict("records")
        if (row["task"], row[x]) in base.index
    ]
    return pd.DataFrame(rows, columns=["task", lines, x, "less_supervised"])


def say(tables: Tables) -> list[str]:
    curves, x, lines = tables[""], tables.facts["x"], tables.facts["lines"]
    said = []
    if "gaps" in tables:
        gaps = tables["gaps"]
        last = gaps.loc[gaps.groupby(["task", lines])[x].idxmax()]
        for line, part in last.groupby(lines, sort=False):
            said.append(
                f"{line} less supervised at the largest {x}: {part['less_supervised'].mean():+.4f} on average over tasks"
            )
    doubling = tables["doublings"]
    last = doubling[doubling["n_to"] == doubling["n_to"].max()]["per_doubling"].mean()
    n_lines, n_curves = curves[lines].nunique(), doubling[lines].nunique()
    single = f"; {n_lines - n_curves} of {n_lines} lines have one {x} alone" if n_curves < n_lines else ""
    return [
        *said,
        f"gain for each doubling of {x} at the largest sizes: {last:+.4f} on average; positive in "
        f"{(doubling['gain'] > 0).mean():.0%} of steps (half by luck){single}",
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    curves, x, lines = tables[""], tables.facts["x"], tables.facts["lines"]
    chosen = plots.choose(tables.facts["tasks"], most=28, what="tasks")
    categories = {task: tables.facts["tasks"][task] for task in chosen.names}
    most = len({*plots.OKABE_ITO[:6], *plots.TOL_MUTED})
    ranked = curves.groupby(lines)["score"].mean().sort_values(ascending=False, kind="stable").index
    kept = plots.choose(ranked, most=most, what=f"lines ({lines})")
    curves = curves[curves[lines].astype(str).isin(set(kept.names))]
    shades = plots.palette(curves[lines])
    with plots.style():
        columns = min(4, len(categories))
        rows = -(-len(categories) // columns)
        fig = plots.figure(plots.COLUMN if columns < 3 else plots.PAGE, 1.35 * rows + 0.2)
        grid = fig.subplots(rows, columns, squeeze=False)
        for axes, (task, category) in zip(grid.flat, categories.items(), strict=False):
            for line, part in curves[curves["task"] == task].groupby(lines, sort=False):
                axes.plot(part[x], part["score"], "-o", color=shades[line], markersize=2.5)
                if (part["count"] > 1).any():
                    axes.fill_between(part[x], part["min"], part["max"], color=shades[line], alpha=0.13, linewidth=0)
            axes.set_title(
                str(task),
                fontsize=6.5,
                color=plots.darker(plots.category_colours([category])[category]) if category else plots.BLACK,
            )
            plots.log_counts(axes, curves.loc[curves["task"] == task, x], most=3)
            axes.tick_params(axis="y", labelsize=5.8)
            axes.locator_params(axis="y", nbins=4)
            axes.grid(axis="y")
        for axes in list(grid.flat)[len(categories) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel("score")
        band = " Bands: range over encoders and seeds." if (curves["count"] > 1).any() else ""
        plots.titles(
            fig,
            f"Score against {x}",
            f"Horizontal: {x}, logarithmic. Lines: mean of each {lines}.{band} {chosen.note}{kept.note}",
            handles=plots.colour_handles(shades),
        )
    return {"": fig}


def _is_nought(values: Series) -> Series:
    return as_words(values, missing="").isin(["0", "0.0"])


ANALYSIS = Analysis(
    name="size-curves",
    summary="Score against pretraining images, epochs or labels, and the gain for each doubling",
    source="Cole et al. 2022, Figures 2, 3 and A2; Hammoud et al. 2024, Figure 4 and Table 5",
    compute=compute,
    draw=draw,
    say=say,
    options=(
        Option(
            "x",
            "",
            "Column on the horizontal axis: dataset_size, epochs, images_seen, labels, ...; if not given, label_fraction or "
            "labels_per_class where the scores have several, else dataset_size.",
        ),
        Option(
            "lines",
            "",
            "Columns, joined by +, that make the lines: method, arch, encoder, probe, labels, ...; if not given, the encoder "
            "against labels, else the method, and the data set where a method has several.",
        ),
        EXCLUDE,
    ),
)
