"""A few encoders side by side on every task, and on how many tasks the middle one lies between the other two.

Kotar et al. 2021, Figure 15: MoCo v2, SwAV, and MoCo v2 with SwAV's multi-crop, which lands between them on almost all
tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, Outputs, comma_list
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles

if TYPE_CHECKING:
    from pandas import DataFrame


def run(scores: DataFrame, out: Outputs, *, encoders: tuple[str, ...], exclude: tuple[str, ...], missing: str) -> None:
    import numpy as np

    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing, is_complete=False)
    unknown = [name for name in encoders if name not in data.wide.index]
    if unknown or (encoders and not 2 <= len(encoders) <= 6):
        raise UsageError(f"encoders={','.join(encoders)}: expected 2 to 6 of {', '.join(map(str, data.wide.index))}.")
    if not encoders:
        # The three best by mean rank are what one wants to see first.
        rank = data.wide.rank(ascending=False).mean(axis=1).sort_values(kind="stable").dropna()
        encoders = tuple(rank.index[:3])
    part = data.wide.loc[list(encoders)]
    sd = data.frame.groupby(["encoder", "task"])["score"].agg(["std", "count"])
    clashes = {name: f"{name} (encoder)" for name in ("task", "category", "middle_is_between")}
    table = part.rename(index=clashes).T.rename_axis("task").reset_index()
    table["category"] = table["task"].map(data.categories)
    if len(encoders) == 3:
        values = part.to_numpy()
        is_known = ~np.isnan(values).any(axis=0)
        table["middle_is_between"] = is_known & ((values[1] - values[0]) * (values[1] - values[2]) <= 0)
        share = int(table["middle_is_between"].sum())
        out.say(f"{encoders[1]} lies between {encoders[0]} and {encoders[2]} on {share} of {int(is_known.sum())} tasks")
    out.table(table)
    with plots.style():
        wide_enough = max(plots.COLUMN, min(plots.PAGE, 0.9 + 0.3 * part.shape[1]))
        longest = min(1.3, plots.text_width([str(t) for t in part.columns], 6.5))
        is_short = longest * part.shape[1] < 0.7 * wide_enough  # then labels need not be turned
        fig = plots.figure(wide_enough, 1.35 + (0.1 if is_short else longest))
        axes = fig.add_subplot()
        width = 0.8 / len(encoders)
        colours = plots.palette(encoders, roles(data.frame))
        for k, name in enumerate(encoders):
            place = np.arange(part.shape[1]) + (k - (len(encoders) - 1) / 2) * width
            axes.bar(place, part.loc[name], width=width * 0.92, color=colours[name], linewidth=0)
            for x, task in zip(place, part.columns, strict=True):
                spread, count = sd.loc[(name, task)] if (name, task) in sd.index else (0.0, 0)
                if count > 1:
                    middle = part.loc[name, task]
                    axes.vlines(x, middle - spread, middle + spread, color=plots.BLACK, linewidth=0.7)
        axes.axhline(0, color=plots.BLACK, linewidth=0.6)
        axes.set_xticks(range(part.shape[1]), list(part.columns), rotation=0 if is_short else 90)
        for label, category in zip(axes.get_xticklabels(), data.categories, strict=True):
            if category:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("score (higher is better)")
        axes.grid(axis="y")
        handles = [plots.Patch(facecolor=colours[name], label=name) for name in encoders]
        seeds = " Lines: sd over seeds." if (sd["count"] > 1).any() else ""
        note = f"Scores as measured; their scales differ by task.{seeds} {data.note}"
        plots.titles(fig, "Encoders task by task", note, handles=handles)
    out.figure(fig)


ANALYSIS = Analysis(
    name="encoder-bars",
    summary="A few encoders side by side on every task",
    source="Kotar et al. 2021, Figure 15",
    run=run,
    min_encoders=2,
    options=(
        Option(
            "encoders", (), "Two to six encoders, with commas between; the three best if not given.", type=comma_list
        ),
        EXCLUDE,
        MISSING,
    ),
)
