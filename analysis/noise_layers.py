"""Three layers of noise in a score, kept apart: other test images, another seed of the probe, another pretraining.

A difference between two encoders must be larger than all three to say something about their methods; papers show one
of them at most (Kotar et al. 2021, Appendix G: pretraining; Chen et al. 2020, Appendix B.8: test images). The third
needs encoders that differ in their pretraining's seed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError
from virb.records.predictions import read_predictions, sampling_sd
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import difference_scale, whole_share
from virb.stats.noise import noise_layers

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LAYERS = {
    "test_sample": "test images",
    "probe_seed": "seed of the probe",
    "pretraining_seed": "seed of pretraining",
}
OF_EXAMPLES = ("top1", "top-1", "top-1 accuracy")


def compute(scores: DataFrame, notes: Notes, *, column: str, exclude: tuple[str, ...], missing: str) -> Tables:
    """A row a task: its sds in its own unit, and the factor that puts them on one scale."""
    import pandas as pd

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    families = about.index.to_series()
    if "repeat" in about and about["repeat"].notna().any():
        families = families.where(about["repeat"].isna(), "repeat\n" + as_words(about["repeat"]))
    elif column in about and about[column].notna().any():
        others = about.drop(columns=column).astype(object)
        described = others.notna().any(axis=1) & about[column].notna()
        text = others.map(lambda value: "" if pd.isna(value) else str(value)).agg("\n".join, axis=1)
        families = families.where(~described, "family\n" + text)
    table = noise_layers(data.frame, families, _sampling(data.frame, scores.attrs.get("results"), notes))
    table["category"] = table["task"].map(data.categories)
    table["sd_between_encoders"] = table["task"].map(data.wide.std(ddof=1))
    if table[list(LAYERS)].isna().to_numpy().all():
        raise NotApplicable(
            "It needs test examples (n_test with top-1, or a results folder), several seeds of the probe, or encoders "
            f"that are repeats (column repeat) or differ in {column} alone."
        )
    factor, scale = difference_scale(data.frame, data.wide)
    table["to_one_scale"] = table["task"].map(factor)
    again = families[families.duplicated(keep=False)]
    return Tables(
        {"": table},
        scale=scale,
        n_encoders=len(data.wide),
        n_repeats=len(again),
        n_repeated=again.nunique(),
        note=data.note,
    )


def _known(table: DataFrame) -> list[str]:
    return [name for name in LAYERS if table[name].notna().any()]


def say(tables: Tables) -> list[str]:
    import numpy as np

    table, facts = tables[""], tables.facts
    known, lines = _known(table), []
    for name, text in LAYERS.items():
        if name not in known:
            lines.append(f"{text}: unknown from these scores")
            continue
        share = (table[name] / table["sd_between_encoders"]).replace(np.inf, np.nan).mean()
        of = (
            f" (from {facts['n_repeats']} encoders that repeat {facts['n_repeated']} pretraining"
            f"{'s' * (facts['n_repeated'] > 1)})"
            if name == "pretraining_seed"
            else ""
        )
        mean = (table[name] * table["to_one_scale"]).mean()
        lines.append(
            f"{text}: sd {mean:.4f} on average over tasks, {facts['scale']}, {share:.0%} of the sd between encoders{of}"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from matplotlib.lines import Line2D

    from virb.figures import plots

    table, facts = tables[""], tables.facts
    known = _known(table)
    order = (table["sd_between_encoders"] * table["to_one_scale"]).sort_values(ascending=False, kind="stable").index
    chosen = plots.choose(table["task"].loc[order], what="tasks", drawn_as=table["task"])
    table = table[table["task"].isin(set(chosen.names))]
    shown = table[[*LAYERS, "sd_between_encoders"]].mul(table["to_one_scale"], axis=0)
    shades = dict(zip(LAYERS, (plots.OKABE_ITO[4], plots.OKABE_ITO[1], plots.OKABE_ITO[5]), strict=True))
    markers = dict(zip(LAYERS, "oDs", strict=True))
    with plots.style():
        n = len(table)
        fig = plots.figure(plots.width_for(chosen.names), plots.bars_height(n))
        axes = fig.add_subplot()
        colours = plots.category_colours(table["category"])
        axes.barh(range(n), shown["sd_between_encoders"], height=0.72, color="#EDEDED", linewidth=0)
        for name in known:
            axes.plot(shown[name], range(n), linestyle="", marker=markers[name], color=shades[name], markeredgewidth=0)
        chosen.label_rows(axes)
        for label, category in zip(axes.get_yticklabels(), table["category"], strict=True):
            label.set_color(plots.darker(colours[category]) if category else plots.BLACK)
        axes.set_xlim(0, None)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        is_z = facts["scale"].startswith("in sd")
        axes.set_xlabel("standard deviation of the score" + (" (sd of the task)" if is_z else ""))
        handles = [plots.Patch(facecolor="#EDEDED", label="between encoders")]
        handles += [
            Line2D([], [], linestyle="", marker=markers[k], color=shades[k], markersize=3.5, label=LAYERS[k])
            for k in known
        ]
        note = f"n = {facts['n_encoders']} encoders, {facts['scale']}. "
        if "pretraining_seed" in known:
            note += f"Pretraining: from {facts['n_repeats']} encoders that repeat {facts['n_repeated']}. "
        note += (
            "Not known here: " + ", ".join(LAYERS[k] for k in LAYERS if k not in known) + ". " if len(known) < 3 else ""
        )
        plots.titles(fig, "Three layers of noise", f"{note}{chosen.note}{facts['note']}", handles=handles)
    return {"": fig}


def _sampling(frame: DataFrame, results: str | None, notes: Notes) -> dict[tuple[str, str], float]:
    """Standard error over test examples: from predictions where there are any, else of top-1 by its n."""
    found: dict[tuple[str, str], float] = {}
    for task, part in frame.groupby("task", sort=False):
        metric = str(part["metric"].iloc[0]) if "metric" in part else ""
        if results:
            try:
                for name, arrays in read_predictions(results, part, str(task)).items():
                    found[name, str(task)] = sampling_sd(arrays, metric)
                continue
            except ScoresError as error:
                notes.say(f"{task}: {error}")
        if "n_test" in part and metric.lower() in OF_EXAMPLES:
            whole = whole_share(part)
            for row in part.dropna(subset=["n_test"]).itertuples():
                share = row.score / whole if whole else -1.0
                if 0 <= share <= 1 and row.n_test > 1:
                    found[str(row.encoder), str(task)] = whole * (share * (1 - share) / (row.n_test - 1)) ** 0.5
    return found


ANALYSIS = Analysis(
    name="noise-layers",
    summary="Three layers of noise kept apart: test images, seeds of the probe, seeds of pretraining",
    source="beyond the papers; Kotar et al. 2021, Appendix G, and Chen et al. 2020, Appendix B.8, show one each",
    compute=compute,
    draw=draw,
    say=say,
    options=(
        Option("column", "pretrain_seed", "Column with the pretraining's seed; all else being equal makes a family."),
        EXCLUDE,
        MISSING,
    ),
)
