"""What in the pretraining moves the scores: factorial analysis of variance, beside the form that counts encoders once.

Kotar et al. 2021, Question 6 and Appendix F: score ~ task + algorithm + balance + size + steps. The paper's form counts
each encoder's tasks as independent; here the same question over encoder means and a mixed model stand beside it, and
are the ones to believe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.errors import ScoresError, UsageError
from virb.scores.table import EXCLUDE, MISSING, encoder_kind, encoder_table, prepare
from virb.stats.variance import anova, encoder_level, level_contrasts, mixed_model

if TYPE_CHECKING:
    from pandas import DataFrame

USUAL = ("method", "dataset", "balance", "dataset_size", "epochs")


def run(
    scores: DataFrame, out: Outputs, *, factors: tuple[str, ...], scale: str, exclude: tuple[str, ...], missing: str
) -> None:
    import numpy as np
    import pandas as pd

    from virb.figures import plots

    data = prepare(scores, out, exclude=exclude, missing=missing)
    about = encoder_table(data.frame)
    ssl = encoder_kind(data.frame) == "self-supervised"
    kept = data.frame[data.frame["encoder"].isin(ssl.index[ssl])]
    kept = kept.groupby(["encoder", "task"], sort=False)["score"].mean().reset_index()
    about = about.loc[ssl].copy()
    unknown = [name for name in factors if name not in about]
    if unknown:
        raise UsageError(
            f"factors={','.join(factors)}: {unknown[0]!r} is no column; there are {names_in_words(list(about), 12)}."
        )
    chosen = list(factors or [name for name in USUAL if name in about])
    chosen = [name for name in chosen if about[name].notna().all() and about[name].astype(str).nunique() > 1]
    if not chosen:
        raise NotApplicable("No column about the self-supervised encoders is complete and has two values.")
    for name in chosen:
        about[name] = about[name].map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
    if not factors:
        chosen = _separable(about, chosen, out)
    for name in chosen:
        kept[name] = kept["encoder"].map(about[name])
    if scale == "z":
        # Tasks differ in spread: without this, the widest decides.
        spread = kept.groupby("task")["score"].transform("std")
        kept["score"] = (kept["score"] - kept.groupby("task")["score"].transform("mean")) / spread
    columns = {name: f"f{k}" for k, name in enumerate(chosen)}
    renamed = kept.rename(columns=columns)
    cells = anova(renamed, "score ~ task + " + " + ".join(columns.values())).rename(
        index={v: k for k, v in columns.items()}
    )
    once = encoder_level(kept, chosen).rename(index=lambda name: name.removeprefix('Q("').removesuffix('")'))
    tables = []
    for name, table in (("cells", cells), ("encoders", once)):
        tables.append(table.rename_axis("term").reset_index().assign(form=name))
    both = pd.concat(tables, ignore_index=True)
    both["n_encoders"], both["scale"] = len(about), scale
    out.table(both)
    contrasts = []
    for name in chosen:
        reference = about[name].astype(str).value_counts().index[0]
        others = [other for other in chosen if other != name]
        for clustered in (True, False):
            part = level_contrasts(kept, name, others, reference=reference, clustered=clustered)
            contrasts.append(part.assign(factor=name, form="encoders" if clustered else "cells"))
    levels = pd.concat(contrasts, ignore_index=True)
    out.table(levels, "levels")
    unclear = levels[(levels["form"] == "encoders") & (levels["p"] >= 0.05)]
    for row in unclear.itertuples():
        out.say(
            f"{row.factor}, {row.level} less {row.reference}: {row.difference:+.3g}, p = {row.p:.2g} over encoders; "
            f"found four times in five would be {row.detectable:.3g}"
        )
    try:
        mixed = mixed_model(kept, chosen)
        out.table(mixed.table.assign(encoder_sd=mixed.encoder_sd, residual_sd=mixed.residual_sd), "mixed")
        state = "" if mixed.has_converged else " (did not converge)"
        out.say(f"mixed model{state}: sd between encoders {mixed.encoder_sd:.3g}, residual {mixed.residual_sd:.3g}")
    except (ScoresError, np.linalg.LinAlgError) as error:
        out.say(f"no mixed model: {error}")
    for name in chosen:
        a, b = cells.loc[name, "PR(>F)"], once.loc[name, "PR(>F)"]
        warn = "  <- only when tasks are counted as independent" if a < 0.05 <= b else ""
        out.say(f"{name}: p = {a:.3g} over cells (the paper's form), {b:.3g} over encoders{warn}")
    with plots.style():
        shown = levels.iloc[::-1].sort_values(["factor", "level", "form"], kind="stable")
        pairs = shown.drop_duplicates(["factor", "level"])[["factor", "level", "reference"]]
        longest = max(len(f"{r.level} \u2212 {r.reference}") for r in pairs.itertuples())
        fig = plots.figure(plots.COLUMN if longest < 22 else 1.4 * plots.COLUMN, 0.45 + 0.24 * max(len(pairs), 2))
        axes = fig.add_subplot()
        shades = {"encoders": plots.BLACK, "cells": plots.OKABE_ITO[1]}
        for k, pair in enumerate(pairs.itertuples()):
            for form, shift in (("encoders", -0.14), ("cells", 0.14)):
                row = shown[
                    (shown["factor"] == pair.factor) & (shown["level"] == pair.level) & (shown["form"] == form)
                ].iloc[0]
                axes.hlines(k + shift, row["low"], row["high"], color=shades[form], linewidth=1.1)
                axes.plot(row["difference"], k + shift, "o", color=shades[form], markersize=3, markeredgewidth=0)
        axes.axvline(0, color=plots.GREY, linewidth=0.6)
        axes.set_yticks(range(len(pairs)), [f"{r.level} \u2212 {r.reference}" for r in pairs.itertuples()])
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_xlabel("difference of mean score" + (" (sd of the task)" if scale == "z" else ""))
        handles = [
            plots.Patch(facecolor=shades["encoders"], label="each encoder once"),
            plots.Patch(facecolor=shades["cells"], label="each task as independent (paper)"),
        ]
        note = f"n = {len(about)} self-supervised encoders, {data.wide.shape[1]} tasks; 95% intervals; the other factors held. {data.note}"
        plots.titles(fig, f"Effects of {names_in_words(chosen)}", note, handles=handles)
    out.figure(fig)


def _separable(about: DataFrame, chosen: list[str], out: Outputs) -> list[str]:
    """Factors in order, without those whose levels cannot be told from the ones before."""
    import numpy as np
    import pandas as pd

    kept: list[str] = []
    design = np.ones((len(about), 1))
    for name in chosen:
        dummies = pd.get_dummies(about[name].astype(str), drop_first=True).to_numpy(float)
        wider = np.hstack([design, dummies])
        if np.linalg.matrix_rank(wider) == wider.shape[1] and wider.shape[1] < len(about):
            kept, design = [*kept, name], wider
        else:
            out.say(f"{name} is left out: its levels cannot be told from those of {names_in_words(kept) or 'nothing'}")
    if not kept:
        raise NotApplicable("No column about the encoders can be told from the others.")
    return kept


ANALYSIS = Analysis(
    name="anova",
    summary="Analysis of variance of the pretraining factors, with each encoder counted once beside the paper's form",
    source="Kotar et al. 2021, Question 6 and Appendix F",
    run=run,
    needs=("method",),
    min_encoders=5,
    min_tasks=2,
    options=(
        Option(
            "factors",
            (),
            "Columns of the encoder; method, dataset, balance, size and epochs if not given.",
            type=comma_list,
        ),
        Option("scale", "raw", "Analyse raw scores, as the paper, or z scores within each task.", choices=("raw", "z")),
        EXCLUDE,
        MISSING,
    ),
)
