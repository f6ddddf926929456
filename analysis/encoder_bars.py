"""A few encoders side by side on every task, and on how many tasks the middle one lies between the other two.

Kotar et al. 2021, Figure 15: MoCo v2, SwAV, and MoCo v2 with SwAV's multi-crop, which lands between them on almost all
tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, Option, comma_list
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.roles import roles
from virb.scores.units import units_by_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame, notes: Notes, *, encoders: tuple[str, ...], exclude: tuple[str, ...], missing: str
) -> Tables:
    """A row a task, a column an encoder; ``seeds``: the spread of each score over its seeds."""
    import numpy as np

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    unknown = [name for name in encoders if name not in data.wide.index]
    if unknown or (encoders and not 2 <= len(encoders) <= 6):
        raise UsageError(f"encoders={','.join(encoders)}: expected 2 to 6 of {', '.join(map(str, data.wide.index))}.")
    if not encoders:
        # The three best by mean rank are what one wants to see first.
        rank = data.wide.rank(ascending=False).mean(axis=1).sort_values(kind="stable").dropna()
        encoders = tuple(rank.index[:3])
    part = data.wide.loc[list(encoders)]
    clashes = {name: f"{name} (encoder)" for name in ("task", "category", "middle_is_between", "unit")}
    table = part.rename(index=clashes).T.rename_axis("task").reset_index()
    table["category"] = table["task"].map(data.categories)
    if len(encoders) == 3:
        values = part.to_numpy()
        is_known = ~np.isnan(values).any(axis=0)
        table["middle_is_between"] = is_known & ((values[1] - values[0]) * (values[1] - values[2]) <= 0)
    if "unit" in data.frame:
        table["unit"] = table["task"].map(units_by_task(data.frame))
    kept = data.frame[data.frame["encoder"].isin(encoders)]
    seeds = kept.groupby(["encoder", "task"], sort=False)["score"].agg(["std", "count"]).reset_index()
    return Tables(
        {"": table, "seeds": seeds.rename(columns={"std": "sd", "count": "n_seeds"})},
        encoders=list(encoders),
        columns=[clashes.get(name, name) for name in encoders],
        roles=dict(roles(data.frame).loc[list(encoders)]),
        note=data.note,
    )


def say(tables: Tables) -> list[str]:
    table, names = tables[""], tables.facts["encoders"]
    if len(names) != 3:
        return []
    n_known = int(table[tables.facts["columns"]].notna().all(axis=1).sum())
    share = int(table["middle_is_between"].sum())
    return [
        f"{names[1]} lies between {names[0]} and {names[2]} on {share} of {n_known} tasks (three equal ones: a third)"
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    """Bars a task; tasks of one unit share an axis."""
    import numpy as np

    from virb.figures import plots

    facts, encoders = tables.facts, tables.facts["encoders"]
    table = tables[""]
    sd = tables["seeds"].set_index(["encoder", "task"])
    gap = (table[facts["columns"]].max(axis=1) - table[facts["columns"]].min(axis=1)).sort_values(
        ascending=False, kind="stable"
    )
    chosen = plots.choose(
        table["task"].loc[gap.index], most=48, what="tasks, by how far the encoders are apart,", drawn_as=table["task"]
    )
    table = table[table["task"].isin(set(chosen.names))]
    groups = plots.one_axis_each(table, facts["columns"])
    with plots.style():
        wide_enough = max(plots.COLUMN, min(plots.PAGE, 0.9 + 0.3 * len(table) + 0.5 * (len(groups) - 1)))
        longest = min(1.5, plots.text_width(list(table["task"]), 6.5))
        is_short = longest * len(table) < 0.7 * wide_enough  # then labels need not be turned
        fig = plots.figure(wide_enough, 1.35 + (0.1 if is_short else longest))
        panels = fig.subplots(1, len(groups), squeeze=False, width_ratios=[len(part) + 0.8 for _, part in groups])[0]
        width = 0.8 / len(encoders)
        colours = plots.palette(encoders, facts["roles"])
        for axes, (unit, part) in zip(panels, groups, strict=True):
            for k, (name, column) in enumerate(zip(encoders, facts["columns"], strict=True)):
                place = np.arange(len(part)) + (k - (len(encoders) - 1) / 2) * width
                axes.bar(place, part[column], width=width * 0.92, color=colours[name], linewidth=0)
                for x, task, middle in zip(place, part["task"], part[column], strict=True):
                    spread, count = sd.loc[(name, task)] if (name, task) in sd.index else (0.0, 0)
                    if count > 1:
                        axes.vlines(x, middle - spread, middle + spread, color=plots.BLACK, linewidth=0.7)
            axes.axhline(0, color=plots.BLACK, linewidth=0.6)
            axes.set_xticks(range(len(part)), list(part["task"]), rotation=0 if is_short else 90)
            axes.set_xlim(-0.6, len(part) - 0.4)
            for label, category in zip(axes.get_xticklabels(), part["category"], strict=True):
                if category:
                    label.set_color(plots.darker(plots.category_colours([category])[category]))
            axes.tick_params(axis="x", length=0)
            if axes is panels[0] or len(groups) > 1:
                axes.set_ylabel(
                    f"score in {unit}" if unit else "score (higher is better)" if axes is panels[0] else "score"
                )
            axes.grid(axis="y")
        handles = [plots.Patch(facecolor=colours[name], label=name) for name in encoders]
        seeds = " Lines: sd over seeds." if (sd["n_seeds"] > 1).any() else ""
        scales = (
            "higher is better"
            if len({unit for unit, _ in groups} - {""}) == len(groups)
            else "higher is better; scales differ by task"
        )
        axes_of = ", an axis for each size" if len(groups) > 1 and "" in {unit for unit, _ in groups} else ""
        note = f"Scores as measured{axes_of}; {scales}.{seeds} {chosen.note}{facts['note']}"
        plots.titles(fig, "Encoders task by task", note, handles=handles)
    return {"": fig}


ANALYSIS = Analysis(
    name="encoder-bars",
    summary="A few encoders side by side on every task",
    source="Kotar et al. 2021, Figure 15",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option(
            "encoders", (), "Two to six encoders, with commas between; the three best if not given.", type=comma_list
        ),
        EXCLUDE,
        MISSING,
    ),
)
