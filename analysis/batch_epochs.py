"""Batch size by training length: does a large batch still help when training is long?

Chen et al. 2020, Figure 9 and Table B.1. Needs the columns batch_size and epochs of the encoder. Pitfall: the learning
rate's rule goes with the batch; in Table B.1 the square-root rule closes most of the gap. Where a column (lr_rule) names two
rules they are drawn apart, and their difference is tabled with the better in bold beyond half a point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.scores.layout import EXCLUDE, MISSING, as_counts, mean_scores, prepare
from virb.scores.schema import as_words, encoder_table
from virb.stats.comparisons import rule_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    task: str,
    rule: str,
    threshold: float,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Score by batch size (rows) and epochs (columns), for each rule; ``rules``: the difference between two."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, task=task, is_complete=False)
    about = encoder_table(data.frame)
    table = pd.DataFrame({name: as_counts(about[name], name, notes) for name in ("batch_size", "epochs")}).dropna()
    table["score"], what = mean_scores(data, table.index, task, notes)
    table = table.dropna(subset=["score"])
    about = about.loc[table.index]
    rules = list(dict.fromkeys(as_words(about[rule].dropna()))) if rule in about else []
    table["rule"] = as_words(about[rule]) if len(rules) > 1 else ""
    # Two rules averaged would be neither: each has its grid.
    grids = {name: _grid(part) for name, part in table.groupby("rule", sort=False)}
    if all(grid.shape[0] < 2 for grid in grids.values()):
        raise NotApplicable("All encoders were trained with one batch size.")
    saved = [grid.rename_axis("batch_size").reset_index().assign(rule=name) for name, grid in grids.items()]
    tables = Tables(
        {"": pd.concat(saved, ignore_index=True) if len(rules) > 1 else saved[0].drop(columns="rule")},
        score_of=what, rule=rule, threshold=threshold, n_encoders=len(table), note=data.note,
    )  # fmt: skip
    if len(rules) == 2:
        found = rule_differences(
            table, "rule", first=rules[0], second=rules[1], by=["batch_size", "epochs"], threshold=threshold
        )
        tables["rules"] = found.assign(rule_first=rules[0], rule_second=rules[1])
    return tables


def _grid(table: DataFrame) -> DataFrame:
    return table.pivot_table(index="batch_size", columns="epochs", values="score", aggfunc="mean").sort_index()


def _grids(tables: Tables) -> dict[str, DataFrame]:
    """The grid of each rule; of "" where there is one alone."""
    table = tables[""].assign(rule="") if "rule" not in tables[""] else tables[""]
    grids = {}
    for name, part in table.groupby("rule", sort=False):
        grid = part.drop(columns="rule").set_index("batch_size").dropna(axis=1, how="all")
        grids[str(name)] = grid.rename(columns=float)
    return grids


def say(tables: Tables) -> list[str]:
    lines = []
    for name, grid in _grids(tables).items():
        for epochs in grid.columns:
            known = grid[epochs].dropna()
            if len(known) > 1:
                head = f"{name}: " if name else ""
                lines.append(
                    f"{head}{epochs:g} epochs: largest less smallest batch {known.iloc[-1] - known.iloc[0]:+.3f}"
                )
    if "rules" in tables:
        found, threshold = tables["rules"], tables.facts["threshold"]
        first, second = found["rule_first"].iloc[0], found["rule_second"].iloc[0]
        counts = ", ".join(
            f"{name} by more than {threshold:g} in {int((found['better'] == name).sum())}" for name in (first, second)
        )
        lines.append(f"{second} less {first}: {counts} of {len(found)} settings")
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    """Bars of the grids; where there are two rules, a heatmap of their difference as well."""
    import matplotlib as mpl
    import numpy as np

    from virb.figures import plots

    grids, facts = _grids(tables), tables.facts
    lengths = sorted({float(e) for grid in grids.values() for e in grid.columns})
    low = min(float(np.nanmin(grid)) for grid in grids.values())
    high = max(float(np.nanmax(grid)) for grid in grids.values())
    with plots.style():
        fig = plots.figure(plots.COLUMN if len(grids) == 1 else plots.PAGE, 1.8)
        width = 0.8 / len(lengths)
        map_ = mpl.colormaps[plots.SEQUENTIAL]
        shades = {
            f"{e:g} epochs": mpl.colors.to_hex(map_(0.1 + 0.8 * k / max(1, len(lengths) - 1)))
            for k, e in enumerate(lengths)
        }
        panels = fig.subplots(1, len(grids), squeeze=False, sharey=True)[0]
        for axes, (name, grid) in zip(panels, grids.items(), strict=True):
            for k, (epochs, colour) in enumerate(zip(lengths, shades.values(), strict=True)):
                if epochs in grid:
                    place = np.arange(len(grid)) + (k - (len(lengths) - 1) / 2) * width
                    axes.bar(place, grid[epochs], width=width * 0.92, color=colour, linewidth=0)
            axes.set_ylim(low - ((high - low) or 1) * 0.3, high + ((high - low) or 1) * 0.08)
            axes.set_xticks(range(len(grid)), [f"{b:g}" for b in grid.index])
            axes.set_xlabel("batch size")
            axes.set_title(f"{facts['rule']} {name}" if name else "")
            axes.tick_params(axis="x", length=0)
            axes.grid(axis="y")
        panels[0].set_ylabel("score")
        note = f"{plots.sentence(facts['score_of'])}; n = {facts['n_encoders']} encoders; the axis does not start at 0. {facts['note']}"
        plots.titles(fig, "Batch size and training length", note, handles=plots.colour_handles(shades))
    return {"": fig, **({"rules": _draw_rules(tables)} if "rules" in tables else {})}


def _draw_rules(tables: Tables) -> Figure:
    from virb.figures import plots

    found, facts = tables["rules"], tables.facts
    first, second = found["rule_first"].iloc[0], found["rule_second"].iloc[0]
    square = found.pivot(index="batch_size", columns="epochs", values="difference")
    square.index, square.columns = [f"{b:g}" for b in square.index], [f"{e:g}" for e in square.columns]  # type: ignore[assignment]
    marked = (found.pivot(index="batch_size", columns="epochs", values="better") != "").to_numpy()
    limit = max(float(square.abs().max(axis=None)), 1e-9) * 1.15
    with plots.style():
        fig = plots.figure(plots.COLUMN, 0.4 + 0.19 * max(3, len(square)))
        axes = fig.add_subplot()
        digits = 1 if limit > 1 else 3
        plots.heatmap(axes, square, cmap=plots.DIVERGING, vmin=-limit, vmax=limit, digits=digits, marked=marked)
        axes.set_xlabel("epochs")
        axes.set_ylabel("batch size")
        note = f"{plots.sentence(facts['score_of'])}: {facts['rule']} {second} less {first} (red: {second} is better). "
        note += f"Bold: better by more than {facts['threshold']:g}. n = {2 * len(found)} settings. {facts['note']}"
        plots.titles(fig, f"{second} against {first}", note)
    return fig


ANALYSIS = Analysis(
    name="batch-epochs",
    summary="Batch size by training length",
    source="Chen et al. 2020, Figure 9 and Table B.1",
    compute=compute,
    draw=draw,
    say=say,
    needs=("batch_size", "epochs"),
    min_encoders=2,
    options=(
        Option("task", "", "Task whose score is shown; the mean over tasks if not given."),
        Option("rule", "lr_rule", "Column of the encoder whose two values are compared, where there is one."),
        Option("threshold", 0.5, "Difference beyond which the better rule is bold, in the scores' unit.", type=float),
        EXCLUDE,
        MISSING,
    ),
)
