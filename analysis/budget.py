"""Pretraining budgets: gains at equal compute and at equal epochs, and comparisons that compute explains.

Hammoud et al. 2024: C = N E images seen, D = N / C = 1 / E. Tables 1 and 4, Figure 3. A flagged row beats the best of a
smaller budget with more compute and no more data: read without C it would say that less data is better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
from virb.scores.layout import EXCLUDE, MISSING, as_counts, mean_scores, prepare
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.stats.budget import budget_columns, inconsistency_flags, normalised_gains, parse_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    task: str,
    baseline: str,
    by: str,
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """A row an encoder: N, E, C and D, its flag and its gains over the baselines."""
    data = prepare(
        scores,
        notes,
        exclude=exclude,
        missing=missing,
        task=task,
        is_complete=False,
        pick=lambda frame: analysed(frame, notes, asked=roles),
    )
    about = encoder_table(data.frame)
    for name in [name for name in ("dataset_size", "epochs", "images_seen") if name in about]:
        about[name] = as_counts(about[name], name, notes)
    table = budget_columns(_agreeing(about, notes))
    unknown = table.index[table["C"].isna()]
    if len(unknown):
        notes.say(
            f"left out, two of dataset_size, epochs and images_seen being unknown: {names_in_words(list(unknown))}"
        )
    table = table[table["C"].notna()].copy()
    if len(table) < 2:
        raise NotApplicable("Fewer than two encoders say two of dataset_size, epochs and images_seen.")
    table["score"], what = mean_scores(data, table.index, task, notes)
    table = table[table["score"].notna()].copy()
    if len(table) < 2:
        raise NotApplicable("Fewer than two encoders with known budgets have all scores.")
    within = [name for name in by.split("+") if name in table]
    for name in within:
        table[name] = as_words(table[name])
    if "dataset" in within and table["dataset"].nunique() > 1:
        notes.say(
            f"compared within each of {table['dataset'].nunique()} data sets: a larger one that is another is not more of "
            "the same (--option by=method joins them)"
        )
    flags = inconsistency_flags(table.reset_index(), by=within)
    smallest = parse_count(baseline) if baseline else float(table["N"].min())
    full = normalised_gains(flags, baseline_n=smallest, by=within)
    full["score_of"] = what
    return Tables({"": full}, within=within, baseline_n=smallest, score_of=what, note=data.note)


def _agreeing(about: DataFrame, notes: Notes) -> DataFrame:
    """Encoders whose images, epochs and images seen do not contradict one another."""
    good = []
    for name in about.index:
        try:
            budget_columns(about.loc[[name]])
            good.append(name)
        except ScoresError as error:
            notes.say(f"left out: {error}")
    return about.loc[good]


def say(tables: Tables) -> list[str]:
    full, smallest = tables[""], tables.facts["baseline_n"]
    flagged = full[full["is_flagged"]]
    lines = [
        f"{len(full)} encoders, budgets C from {full['C'].min():g} to {full['C'].max():g} images seen; "
        f"{len(flagged)} flagged: "
        f"more compute, no more data, higher score"
        + (f" ({names_in_words(list(flagged['encoder']))})" if len(flagged) else "")
    ]
    for label, key in (("equal C", "gain_at_equal_C"), ("equal E", "gain_at_equal_E")):
        known = full.loc[(full["N"] > smallest * 1.02) & full[key].notna(), key]
        if len(known):
            lines.append(
                f"against {smallest:g} images at {label}: {known.mean():+.4f} on average over {len(known)} encoders"
            )
    comparisons = [
        part
        for _, group in full.groupby(_group_names(tables))
        for _, part in group.groupby("C")
        if part["N"].nunique() > 1
    ]
    best = sum(bool(part.loc[part["score"].idxmax(), "N"] == part["N"].max()) for part in comparisons)
    by_luck = sum(float((part["N"] == part["N"].max()).mean()) for part in comparisons)
    return [
        *lines,
        f"the largest N is best in {best} of {len(comparisons)} comparisons at equal C (were all equal, in {by_luck:.1f})",
    ]


def _group_names(tables: Tables) -> Series:
    """What encoders are compared within, in words, of the columns that differ."""
    full = tables[""]
    differing = [name for name in tables.facts["within"] if full[name].astype(str).nunique() > 1]
    return full[differing].astype(str).agg(" ".join, axis=1) if differing else full["encoder"].map(lambda _: "")


def draw(tables: Tables) -> dict[str, Figure]:
    """Scores against N, the grid of N and C, and gains over the baselines where there are any."""
    full, smallest = tables[""], tables.facts["baseline_n"]
    figures = {"grid": _draw_grid(tables)}
    if full[["gain_at_equal_C", "gain_at_equal_E"]][full["N"] > smallest * 1.02].notna().to_numpy().any():
        figures["gains"] = _draw_gains(tables)
    return {**figures, "": _draw_scores(tables)}


def _draw_scores(tables: Tables) -> Figure:
    from matplotlib.lines import Line2D

    from virb.figures import plots

    full, facts = tables[""], tables.facts
    within, what, flagged = facts["within"], facts["score_of"], full[full["is_flagged"]]
    groups = full[within].astype(str).agg(" ".join, axis=1) if within else full["encoder"].map(lambda _: "encoders")
    shades = plots.palette(groups)
    markers = dict(zip(sorted(full["C"].unique()), "os^Dv<>P*X" * 20, strict=False))
    with plots.style():
        fig = plots.figure(plots.COLUMN, 2.2)
        axes = fig.add_subplot()
        for group, part in full.groupby(groups, sort=False):
            for c, row in part.groupby("C"):
                mean = row.groupby("N")["score"].mean()
                axes.plot(mean.index, mean.to_numpy(), "-", color=shades[group], linewidth=0.8, alpha=0.8)
                axes.scatter(
                    row["N"], row["score"], marker=markers[c], s=12, color=shades[group], linewidth=0, zorder=3
                )
        if len(flagged):
            axes.scatter(
                flagged["N"],
                flagged["score"],
                s=42,
                facecolor="none",
                edgecolor=plots.OKABE_ITO[5],
                linewidth=1.0,
                zorder=4,
            )
        plots.log_counts(axes, full["N"], most=5)
        axes.set_xlabel("pretraining images N")
        axes.set_ylabel("score")
        axes.grid()
        handles = plots.colour_handles(shades) if within else []
        handles += [
            Line2D([], [], linestyle="", marker=m, color=plots.GREY, markersize=3.5, label=f"C = {plots.count_text(c)}")
            for c, m in list(markers.items())[: min(6, full["C"].nunique())]
        ]
        if len(flagged):
            handles.append(
                Line2D(
                    [],
                    [],
                    linestyle="",
                    marker="o",
                    markerfacecolor="none",
                    color=plots.OKABE_ITO[5],
                    markersize=6,
                    label="flagged",
                )
            )
        note = f"Score: {what}; n = {len(full)} encoders; lines join equal budgets C = N E of one {' and '.join(within) or 'table'}. "
        note += f"Flagged: more compute, no more data, higher score. {facts['note']}"
        plots.titles(fig, "Data and compute apart", note, handles=handles)
    return fig


def _draw_grid(tables: Tables) -> Figure:
    """Scores by N and C: compare inside a column only; a red frame warns of the comparisons that C explains."""
    import numpy as np

    from virb.figures import plots

    full, facts = tables[""], tables.facts
    groups = _group_names(tables)
    one_budget = full["C"].nunique() == 1
    if one_budget:
        # With one budget the groups themselves make the columns of a single panel.
        panels = [("", full.assign(column=groups.replace("", "all")))]
    else:
        panels = [(str(name), part.assign(column=part["C"])) for name, part in full.groupby(groups, sort=False)]
    n_groups, panels = len(panels), panels[:9]
    columns = min(3, len(panels))
    n_rows = -(-len(panels) // columns)
    with plots.style():
        rows_of = max(part["N"].nunique() for _, part in panels)
        names = plots.text_width([str(name) for name in panels[0][1]["column"]], 6.5) if one_budget else 0.0
        height = (0.55 + names + 0.2 * max(rows_of, 2)) * n_rows
        fig = plots.figure(plots.COLUMN if columns == 1 else plots.PAGE, height)
        axes_grid = fig.subplots(n_rows, columns, squeeze=False)
        for axes, (name, part) in zip(axes_grid.flat, panels, strict=False):
            square = part.pivot_table(index="N", columns="column", values="score", aggfunc="mean").sort_index()
            flags = part.pivot_table(index="N", columns="column", values="is_flagged", aggfunc="max")
            flags = flags.reindex(index=square.index, columns=square.columns).fillna(0).to_numpy(bool)
            # Colour compares inside a column (one budget), which is the only fair comparison.
            low, high = square.min(), square.max()
            shade = ((square - low) / (high - low).replace(0, np.nan)).fillna(0.5).where(square.notna())
            shade.index = [plots.count_text(v) for v in square.index]  # type: ignore[assignment]
            shade.columns = list(square.columns) if one_budget else [plots.count_text(v) for v in square.columns]
            image = plots.heatmap(axes, shade, cmap="Blues", vmin=-0.3, vmax=1.6)
            for text in list(axes.texts):
                text.remove()
            for i in range(square.shape[0]):
                for j in range(square.shape[1]):
                    value = float(square.iloc[i, j])
                    if not np.isfinite(value):
                        continue
                    ink = plots.text_on(tuple(np.ravel(image.cmap(image.norm(shade.iloc[i, j])))))
                    weight = "bold" if value == high.iloc[j] else "normal"
                    axes.text(
                        j, i, plots.score_text(value), ha="center", va="center", fontsize=6, color=ink, weight=weight
                    )
                    if flags[i, j]:
                        axes.add_patch(
                            plots.Rectangle((j - 0.44, i - 0.42), 0.88, 0.84, fill=False, edgecolor=plots.OKABE_ITO[5], linewidth=1.3, zorder=5)
                        )  # fmt: skip
            if not one_budget:
                axes.tick_params(axis="x", rotation=0)
            axes.set_title(name, fontsize=6.5)
            budget = plots.count_text(float(part["C"].iloc[0]))
            axes.set_xlabel(f"all at C = {budget} images seen" if one_budget else "images seen C")
        for axes in axes_grid[:, 0]:
            axes.set_ylabel("images N")
        for axes in list(axes_grid.flat)[len(panels) :]:
            axes.remove()
        note = f"{plots.sentence(facts['score_of'])}. Compare inside a column: darker and bold are better there. Red frame: beats the best of a smaller C "
        note += f"with no more images, which compute explains. {facts['note']}"
        note += f" The first 9 of {n_groups} groups." if n_groups > 9 else ""
        plots.titles(fig, "Data at equal compute", note)
    return fig


def _draw_gains(tables: Tables) -> Figure:
    from virb.figures import plots

    full, facts, smallest = tables[""], tables.facts, tables.facts["baseline_n"]
    shown = full[(full["N"] > smallest * 1.02) & full[["gain_at_equal_C", "gain_at_equal_E"]].notna().any(axis=1)]
    shown = shown.sort_values(["N", "C"], kind="stable")
    n_with_baseline = len(shown)
    gain = shown["gain_at_equal_C"].fillna(shown["gain_at_equal_E"])
    by_gain = shown["encoder"].loc[gain.sort_values(ascending=False, kind="stable").index]
    chosen = plots.choose(by_gain, what="encoders, by their gain,", drawn_as=shown["encoder"])
    shown = shown[shown["encoder"].astype(str).isin(set(chosen.names))]
    with plots.style():
        size = 6.5 if len(shown) <= 20 else 5
        fig = plots.figure(plots.COLUMN * 1.25, 0.42 + (0.135 if len(shown) <= 20 else 0.105) * max(len(shown), 2))
        axes = fig.add_subplot()
        plots.bars(
            axes, list(shown["encoder"]), list(shown["gain_at_equal_C"]), [plots.OKABE_ITO[0]] * len(shown), size=size
        )
        axes.plot(shown["gain_at_equal_E"], range(len(shown)), "D", color=plots.OKABE_ITO[5], markersize=3)
        axes.set_xlabel(f"gain over {plots.count_text(smallest)} images")
        shades = {"at equal compute C": plots.OKABE_ITO[0], "at equal epochs E": plots.OKABE_ITO[5]}
        keys = zip(list(shades), ("gain_at_equal_C", "gain_at_equal_E"), strict=True)
        shades = {name: shades[name] for name, key in keys if shown[key].notna().any()}
        note = f"Score: {facts['score_of']}; n = {n_with_baseline} encoders with a baseline of {plots.count_text(smallest)} images. {chosen.note}{facts['note']}"
        plots.titles(fig, "Gains over baselines of equal compute or epochs", note, handles=plots.colour_handles(shades))
    return fig


ANALYSIS = Analysis(
    name="budget",
    summary="Pretraining budgets: gains at equal compute and epochs, and comparisons that compute explains",
    source="Hammoud et al. 2024, Tables 1 and 4, Figure 3",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("task", "", "Task whose score is used; the mean over tasks if not given."),
        Option("baseline", "", "Pretraining images of the baseline; the smallest number if not given."),
        Option("by", "method+arch+network+dataset", "Columns, joined by +, within which encoders are compared."),
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
