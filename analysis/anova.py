"""What in the pretraining moves the scores: factorial analysis of variance, beside the form that counts encoders once.

Kotar et al. 2021, Question 6 and Appendix F: score ~ task + algorithm + balance + size + steps. The paper's form counts
each encoder's tasks as independent; here the same question over encoder means and a mixed model stand beside it, and
are the ones to believe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError
from virb.scores.families import FAMILY, declared_families
from virb.scores.layout import EXCLUDE, MISSING, Prepared, prepare
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.roles import roles as roles_of
from virb.scores.schema import as_words, encoder_table, word
from virb.scores.units import of_one_unit, on_one_scale
from virb.stats.clusters import family_contrasts, family_level
from virb.stats.variance import anova, encoder_level, level_contrasts, mixed_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

USUAL = ("method", "dataset", "balance", "dataset_size", "epochs")


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    factors: tuple[str, ...],
    scale: str,
    family: str,
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Both forms' tables of terms; ``levels``: each level less the most frequent; ``mixed``: the mixed model, where it can
    be fitted; ``encoders``: who was analysed. The form ``encoders`` counts each encoder once, ``families`` each family."""
    import numpy as np
    import pandas as pd

    chosen: list[str] = []

    def pick(frame: DataFrame) -> list[str]:
        names = analysed(frame, notes, asked=roles)
        table = encoder_table(frame).loc[names]
        chosen[:], kept = _usable(table, factors, frame, notes)
        return kept

    data = prepare(scores, notes, exclude=exclude, missing=missing, is_varying=True, pick=pick)
    about = encoder_table(data.frame)[chosen].apply(as_words)
    chosen = _separable(about, chosen, notes)
    kept, said = _scaled(data, scale, notes)
    for name in chosen:
        kept[name] = kept["encoder"].map(about[name])
    columns = {name: f"f{k}" for k, name in enumerate(chosen)}
    renamed = kept.rename(columns=columns)
    cells = anova(renamed, "score ~ task + " + " + ".join(columns.values())).rename(
        index={v: k for k, v in columns.items()}
    )
    families = declared_families(data.frame, about.index, notes, column=family, besides=chosen)
    of = None if families.labels is None else dict(zip(about.index, families.labels, strict=True))
    unit = "encoders" if of is None else "families"
    once = encoder_level(kept, chosen) if of is None else family_level(kept, chosen, of)
    forms = []
    for name, table in (("cells", cells), (unit, once)):
        forms.append(table.rename_axis("term").reset_index().assign(form=name))
    both = pd.concat(forms, ignore_index=True)
    both["n_encoders"], both["scale"] = len(about), "z" if said.startswith("in sd") else "raw"
    members = about[chosen].assign(role=roles_of(data.frame).loc[about.index])
    contrasts = []
    for name in chosen:
        reference = about[name].astype(str).value_counts().index[0]
        others = [other for other in chosen if other != name]
        paper = level_contrasts(kept, name, others, reference=reference, clustered=False)
        own = (
            level_contrasts(kept, name, others, reference=reference)
            if of is None
            else family_contrasts(kept, name, others, of, reference=reference)
        )
        contrasts += [own.assign(factor=name, form=unit), paper.assign(factor=name, form="cells")]
    tables = Tables(
        {
            "": both,
            "encoders": members.rename_axis("encoder").reset_index(),
            "levels": pd.concat(contrasts, ignore_index=True),
        },
        factors=chosen,
        n_encoders=len(about),
        n_tasks=kept["task"].nunique(),
        scale=said,
        unit=unit,
        counted=(families.warning or "each encoder counts once")
        if of is None
        else f"each of {families.n} families ({families.column}) counts once",
        is_warned=bool(families.warning),
        note=data.note,
    )
    try:
        mixed = mixed_model(kept, chosen)
        # Its encoders are independent, so that of its table the estimates alone hold where families are counted.
        terms = mixed.table if of is None else mixed.table[["term", "estimate"]]
        tables["mixed"] = terms.assign(encoder_sd=mixed.encoder_sd, residual_sd=mixed.residual_sd)
        tables.facts["mixed_has_converged"] = mixed.has_converged
    except (ScoresError, np.linalg.LinAlgError) as error:
        why = "its equations have no one solution" if isinstance(error, np.linalg.LinAlgError) else str(error)
        notes.say(f"no mixed model: {why}")
    return tables


def _scaled(data: Prepared, scale: str, notes: Notes) -> tuple[DataFrame, str]:
    """Mean score of every cell, and in what it is: z within tasks where that was asked for or tasks have no one unit."""
    kept = data.frame.groupby(["encoder", "task"], sort=False)["score"].mean().reset_index()
    scaled, said = on_one_scale(data.frame, data.wide)
    if scale == "z" or (scale == "auto" and said.startswith("in sd")):
        # Tasks differ in spread: without this, the widest decides.
        spread = kept.groupby("task")["score"].transform("std")
        kept["score"] = (kept["score"] - kept.groupby("task")["score"].transform("mean")) / spread
        return kept, said if said.startswith("in sd") else "in sd of each task over encoders, as asked"
    if scale == "auto":
        kept["score"] = [scaled.loc[row.encoder, row.task] for row in kept.itertuples()]
        return kept, said
    kept = kept[kept["task"].isin(of_one_unit(data.frame, data.wide, notes))].copy()
    return kept, "raw, as asked"


def say(tables: Tables) -> list[str]:
    """Levels that are not told apart, with what would have been found; then p of every factor in both forms."""
    facts, levels = tables.facts, tables["levels"]
    unit, lines = facts["unit"], [f"scores are {facts['scale']}"]
    shared = f"; {facts['counted']}" if facts["is_warned"] else ""
    own = levels[levels["form"] == unit]
    for row in own[own["p"] >= 0.05].itertuples():
        lines.append(
            f"{row.factor}, {row.level} less {row.reference}: {row.difference:+.3g}, p = {row.p:.2g} over {unit}; "
            f"found four times in five would be {row.detectable:.3g}{shared}"
        )
    untold = own[own["p"].isna()]
    for factor in dict.fromkeys(untold["factor"]):
        part = untold[untold["factor"] == factor]
        lines.append(
            f"{factor}: no p of {names_in_words(list(part['level']))} less {part['reference'].iloc[0]}, which are told by one family "
            "alone: what is of the level and what of the family cannot be known"
        )
    if "mixed" in tables:
        state = "" if facts["mixed_has_converged"] else " (did not converge)"
        first = tables["mixed"].iloc[0]
        lines.append(
            f"mixed model{state}: sd between encoders {first['encoder_sd']:.3g}, residual {first['residual_sd']:.3g}"
        )
    p = tables[""].set_index(["form", "term"])["PR(>F)"]
    for name in facts["factors"]:
        a, b = p["cells", name], p[unit, name]
        warn = "  <- only when tasks are counted as independent" if a < 0.05 <= b else ""
        once = f"p = {b:.3g}" if b == b else "no p (too few families for its levels)"
        where = "over encoders" if facts["is_warned"] else f"where {facts['counted']}"
        lines.append(
            f"{name}: {once}, {where}; {a:.3g} over cells (the paper's form, as if tasks were independent){warn}{shared}"
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    from virb.figures import plots

    facts = tables.facts
    with plots.style():
        shown = tables["levels"].iloc[::-1].sort_values(["factor", "level", "form"], kind="stable")
        pairs = shown.drop_duplicates(["factor", "level"])[["factor", "level", "reference"]]
        pairs["name"] = [f"{r.level} \u2212 {r.reference}" for r in pairs.itertuples()]
        of_encoders = shown[shown["form"] == facts["unit"]].sort_values("difference", ascending=False, kind="stable")
        ranked = [f"{r.level} \u2212 {r.reference}" for r in of_encoders.itertuples()]
        chosen = plots.choose(dict.fromkeys(ranked), most=40, what="differences", drawn_as=dict.fromkeys(pairs["name"]))
        pairs = pairs[pairs["name"].isin(set(chosen.names))]
        longest = plots.text_width(list(pairs["name"]), 6.5)
        fig = plots.figure(plots.COLUMN if longest < 1.7 else plots.PAGE, 0.45 + 0.24 * max(len(pairs), 2))
        axes = fig.add_subplot()
        unit = facts["unit"]
        shades = {unit: plots.BLACK, "cells": plots.OKABE_ITO[1]}
        for k, pair in enumerate(pairs.itertuples()):
            for form, shift in ((unit, -0.14), ("cells", 0.14)):
                row = shown[
                    (shown["factor"] == pair.factor) & (shown["level"] == pair.level) & (shown["form"] == form)
                ].iloc[0]
                axes.hlines(k + shift, row["low"], row["high"], color=shades[form], linewidth=1.1)
                axes.plot(row["difference"], k + shift, "o", color=shades[form], markersize=3, markeredgewidth=0)
        axes.axvline(0, color=plots.GREY, linewidth=0.6)
        axes.set_yticks(range(len(pairs)), list(pairs["name"]))
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        is_z = facts["scale"].startswith("in sd")
        axes.set_xlabel("difference of mean score" + (" (sd of the task)" if is_z else ""))
        handles = [
            plots.Patch(facecolor=shades[unit], label=f"each {'family' if unit == 'families' else 'encoder'} once"),
            plots.Patch(facecolor=shades["cells"], label="each task as independent (paper)"),
        ]
        note = f"n = {facts['n_encoders']} encoders, {facts['n_tasks']} tasks; scores {facts['scale']}; 95% intervals; the "
        note += f"other factors held; {facts['counted']}. {chosen.note}{facts['note']}"
        plots.titles(fig, f"Effects of {names_in_words(facts['factors'])}", note, handles=handles)
    return {"": fig}


def _usable(about: DataFrame, asked: tuple[str, ...], frame: DataFrame, notes: Notes) -> tuple[list[str], list[str]]:
    """The factors that can be analysed and the encoders that have them; what is left out is said.

    A factor that was asked for is analysed on the encoders that have it; of the usual ones only those that all have.
    """
    for name in asked:
        if name not in about:
            reason = "differs between rows of one encoder" if name in frame else "is no column"
            raise UsageError(
                f"factors={','.join(asked)}: {name!r} {reason}; columns about encoders are "
                f"{names_in_words(list(about), 12)}."
            )
    names = list(asked or [name for name in USUAL if name in about])
    if asked:
        for name in names:
            without = list(about.index[about[name].isna()])
            if without and len(without) < len(about):
                notes.say(f"left out, {name} being unknown: {names_in_words(without)}")
                about = about[about[name].notna()]
    chosen = []
    for name in names:
        n_missing, n_levels = int(about[name].isna().sum()), about[name].nunique()
        if n_missing:
            notes.say(
                f"{name} is left out: {n_missing} of {len(about)} encoders have none (--option factors={name} keeps the others)"
            )
        elif n_levels < 2:
            level = word(about[name].iloc[0]) if len(about) else "none"
            notes.say(f"{name} is left out: all encoders have the same ({level})")
        else:
            chosen.append(name)
    if not chosen:
        raise NotApplicable(
            f"No column about the {len(about)} encoders is complete and has two values ({names_in_words(names) or 'none of the usual'})."
        )
    return chosen, [str(name) for name in about.index]


def _separable(about: DataFrame, chosen: list[str], notes: Notes) -> list[str]:
    """Factors in order, without those whose levels cannot be told from the ones before."""
    import numpy as np
    import pandas as pd

    kept: list[str] = []
    design = np.ones((len(about), 1))
    for name in chosen:
        dummies = pd.get_dummies(about[name], drop_first=True).to_numpy(float)
        wider = np.hstack([design, dummies])
        if dummies.shape[1] == 0:
            notes.say(f"{name} is left out: the encoders that remain have the same")
        elif wider.shape[1] >= len(about):
            notes.say(
                f"{name} is left out: with its {dummies.shape[1] + 1} levels nothing of {len(about)} encoders is left to judge by"
            )
        elif np.linalg.matrix_rank(wider) < wider.shape[1]:
            notes.say(
                f"{name} is left out: its levels cannot be told from those of {names_in_words(kept) or 'nothing'}"
            )
        else:
            kept, design = [*kept, name], wider
    if not kept:
        raise NotApplicable(f"Nothing about the encoders can be told from the rest: {names_in_words(chosen)}.")
    return kept


ANALYSIS = Analysis(
    name="anova",
    summary="Analysis of variance of the pretraining factors, with each encoder counted once beside the paper's form",
    source="Kotar et al. 2021, Question 6 and Appendix F",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=5,
    min_tasks=2,
    options=(
        Option(
            "factors",
            (),
            "Columns of the encoder; method, dataset, balance, size and epochs if not given.",
            type=comma_list,
        ),
        Option(
            "scale",
            "auto",
            "Analyse scores as they are where all tasks have one declared unit and z scores within each task elsewhere (auto); "
            "z scores always; or raw scores, as the paper, of the tasks of one unit.",
            choices=("auto", "z", "raw"),
        ),
        FAMILY,
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
