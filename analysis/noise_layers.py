"""Three layers of noise in a score, kept apart: other test images, another seed of the probe, another pretraining.

A difference between two encoders must be larger than all three to say something about their methods; papers show one
of them at most (Kotar et al. 2021, Appendix G: pretraining; Chen et al. 2020, Appendix B.8: test images). The third
needs encoders that differ in their pretraining's seed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs
from virb.errors import ScoresError
from virb.records.predictions import read_predictions, sampling_sd
from virb.scores.layout import EXCLUDE, MISSING, prepare
from virb.scores.schema import as_words, encoder_table
from virb.stats.variance import noise_layers

if TYPE_CHECKING:
    from pandas import DataFrame

LAYERS = {
    "test_sample": "test images",
    "probe_seed": "seed of the probe",
    "pretraining_seed": "seed of pretraining",
}
OF_EXAMPLES = ("top1", "top-1", "top-1 accuracy")


def run(scores: DataFrame, out: Outputs, *, column: str, exclude: tuple[str, ...], missing: str) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False)
    about = encoder_table(data.frame)
    families = about.index.to_series()
    if "repeat" in about and about["repeat"].notna().any():
        families = families.where(about["repeat"].isna(), "repeat\n" + as_words(about["repeat"]))
    elif column in about and about[column].notna().any():
        others = about.drop(columns=column).astype(object)
        described = others.notna().any(axis=1) & about[column].notna()
        text = others.map(lambda value: "" if pd.isna(value) else str(value)).agg("\n".join, axis=1)
        families = families.where(~described, "family\n" + text)
    table = noise_layers(data.frame, families, _sampling(data.frame, scores.attrs.get("results"), out))
    table["category"] = table["task"].map(data.categories)
    table["sd_between_encoders"] = table["task"].map(data.wide.std(ddof=1))
    known = [name for name in LAYERS if table[name].notna().any()]
    if not known:
        raise NotApplicable(
            "It needs test examples (n_test with top-1, or a results folder), several seeds of the probe, or encoders "
            f"that are repeats (column repeat) or differ in {column} alone."
        )
    out.table(table)
    for name, text in LAYERS.items():
        if name in known:
            share = (table[name] / table["sd_between_encoders"]).replace(np.inf, np.nan).mean()
            out.say(
                f"{text}: sd {table[name].mean():.4f} on average over tasks, {share:.0%} of the sd between encoders"
            )
        else:
            out.say(f"{text}: unknown from these scores")
    shades = dict(zip(LAYERS, (plots.OKABE_ITO[4], plots.OKABE_ITO[1], plots.OKABE_ITO[5]), strict=True))
    markers = dict(zip(LAYERS, "oDs", strict=True))
    with plots.style():
        from matplotlib.lines import Line2D

        n = len(table)
        fig = plots.figure(plots.COLUMN, plots.bars_height(n))
        axes = fig.add_subplot()
        colours = plots.category_colours(data.categories)
        axes.barh(range(n), table["sd_between_encoders"], height=0.72, color="#EDEDED", linewidth=0)
        for name in known:
            axes.plot(table[name], range(n), linestyle="", marker=markers[name], color=shades[name], markeredgewidth=0)
        axes.set_yticks(range(n), list(table["task"]))
        for label, category in zip(axes.get_yticklabels(), table["category"], strict=True):
            label.set_color(plots.darker(colours[category]) if category else plots.BLACK)
        axes.set_ylim(n - 0.4, -0.6)
        axes.set_xlim(0, None)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel("standard deviation of the score")
        handles = [plots.Patch(facecolor="#EDEDED", label="between encoders")]
        handles += [
            Line2D([], [], linestyle="", marker=markers[k], color=shades[k], markersize=3.5, label=LAYERS[k])
            for k in known
        ]
        note = f"n = {len(data.wide)} encoders. "
        note += (
            "Not known here: " + ", ".join(LAYERS[k] for k in LAYERS if k not in known) + ". " if len(known) < 3 else ""
        )
        plots.titles(fig, "Three layers of noise", f"{note}{data.note}", handles=handles)
    out.figure(fig)


def _sampling(frame: DataFrame, results: str | None, out: Outputs) -> dict[tuple[str, str], float]:
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
                out.say(f"{task}: {error}")
        if "n_test" in part and metric.lower() in OF_EXAMPLES:
            for row in part.dropna(subset=["n_test"]).itertuples():
                if 0 <= row.score <= 1 and row.n_test > 1:
                    found[str(row.encoder), str(task)] = (row.score * (1 - row.score) / (row.n_test - 1)) ** 0.5
    return found


ANALYSIS = Analysis(
    name="noise-layers",
    summary="Three layers of noise kept apart: test images, seeds of the probe, seeds of pretraining",
    source="beyond the papers; Kotar et al. 2021, Appendix G, and Chen et al. 2020, Appendix B.8, show one each",
    run=run,
    options=(
        Option("column", "pretrain_seed", "Column with the pretraining's seed; all else being equal makes a family."),
        EXCLUDE,
        MISSING,
    ),
)
