"""Which of two encoders, or is the leader the best: better, practically equal, worse, and what would settle it.

Benavoli et al. 2017. The region of practical equivalence is declared beforehand and stands beside every answer, for it decides
more than the method does. Over tasks of this kind the spread between tasks (whole categories where they are declared) is the
noise; on these very tasks it is repeats of the probe, paired as they are, test images and pretraining seeds. Pitfall: a pair
that was picked for its scores is not a pair named before; without a pair, the leader's lead is drawn towards the others'
mean, which takes out the luck of having been chosen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from virb.analysis._decide_drawn import SAMPLED, THESE, draw, typeset

from virb.contracts.analysis import Analysis, NotApplicable, Option, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import ScoresError, UsageError
from virb.scores.layout import EXCLUDE, MISSING, Prepared, prepare
from virb.scores.noise import image_variances, repeats_between, repeats_by_task
from virb.scores.scale import SCALE, Scaled, on_scale
from virb.scores.weights import WEIGHTS, blocks_of, parse_weights, repeats_of
from virb.stats.decision import (
    Term,
    again_term,
    between_blocks,
    correlated_t,
    field_between_blocks,
    half_width,
    number_needed,
    probe_noise,
    satterthwaite,
    shrunken_field,
    signed_rank_areas,
    student_areas,
)

if TYPE_CHECKING:
    from pandas import DataFrame, Series


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    a: str,
    b: str,
    weights: tuple[str, ...],
    region: float,
    tasks: str,
    scale: str,
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Of a pair a row for every region and view of the tasks (``tasks``: a row a task; ``noise``: every term); of a field a row
    an encoder."""
    if bool(a) != bool(b):
        raise UsageError("decide compares a with b: name both, or neither for the leader against all others.")
    data = prepare(scores, notes, exclude=exclude, missing=missing, is_complete=not a)
    if a:
        data = _with_both(data, a, b, notes)
    scaled = on_scale(data, notes, scale=scale)
    rope = region if region > 0 else scaled.small
    weight = parse_weights(weights, data.categories[scaled.wide.columns])
    if (weight == 0).any():
        notes.say(f"without weight, and left out: {names_in_words(list(weight.index[weight == 0]))}")
        weight = weight[weight > 0]
        kept = scaled.frame["task"].isin(weight.index)
        scaled = replace(scaled, frame=scaled.frame[kept], wide=scaled.wide[weight.index])
    if a:
        found = compute_pair(data, scaled, weight, a, b, rope, scores.attrs.get("results"), notes)
    else:
        found = compute_field(data, scaled, weight, rope, tasks == "sampled")
    view = SAMPLED if tasks == "sampled" else THESE
    found.facts |= {"a": a, "b": b, "region": rope, "scale": scaled.words, "view": view, "note": data.note}
    return found


def _with_both(data: Prepared, a: str, b: str, notes: Notes) -> Prepared:
    """The tasks on which every encoder of the two sides has a score; what others lack is no matter here."""
    groups = repeats_of(data)
    sides = [*_members(groups, a), *_members(groups, b)]
    whole = data.wide.loc[sides].notna().all()
    if not whole.any():
        raise NotApplicable(f"{a} and {b} have no task in common.")
    if not whole.all():
        notes.say(f"left out, a score of {a} or {b} being missing: {names_in_words(list(whole.index[~whole]))}")
    kept = data.frame[data.frame["task"].isin(whole.index[whole])]
    return replace(data, frame=kept, wide=data.wide.loc[:, whole], categories=data.categories[whole.index[whole]])


def compute_pair(
    data: Prepared, scaled: Scaled, weight: Series, a: str, b: str, rope: float, results: str | None, notes: Notes
) -> Tables:
    """``answers``: one row for every region and view of the tasks; ``tasks``: one a task; ``noise``: every term."""
    import numpy as np
    import pandas as pd

    groups = repeats_of(data)
    sides = [_members(groups, name) for name in (a, b)]
    if set(sides[0]) & set(sides[1]):
        raise UsageError(f"a={a} and b={b} share the encoder {sorted(set(sides[0]) & set(sides[1]))[0]}.")
    wide = scaled.wide
    gap = (wide.loc[sides[0]].mean() - wide.loc[sides[1]].mean()).rename("difference")
    w, d = weight.to_numpy(float), gap.to_numpy(float)
    blocks, counted = blocks_of(data.categories[wide.columns])
    rows, probe = [], []
    images = image_variances(data, scaled, sides, results, notes)
    for task in wide.columns:
        paired, variance, df = repeats_between(scaled.frame, str(task), sides)
        here = correlated_t(paired, rope) if paired is not None and len(sides[0]) == len(sides[1]) == 1 else None
        v_image = images.get(str(task), np.nan)
        rows.append(
            (
                task,
                data.categories[task],
                weight[task],
                gap[task],
                np.sqrt(variance),
                df,
                np.sqrt(v_image),
                *(vars(here).values() if here else [np.nan] * 3),
            )
        )
        if np.isfinite(variance):
            probe.append(Term(str(task), float(weight[task] ** 2 * variance), df))
    columns = ["task", "category", "weight", "difference", "se_repeats", "df", "se_images", "better", "equal", "worse"]
    table = pd.DataFrame(rows, columns=columns)
    others = wide.dropna()
    again = again_term(others.to_numpy(float) @ w, list(groups[others.index]), (len(sides[0]), len(sides[1])))
    these: list[Term] = [again] if again else []
    if len(probe) == len(wide.columns):
        se, df = satterthwaite(probe)
        these.append(Term("repeats of the probe", se**2, df))
    if table["se_images"].notna().all():
        these.append(Term("test images", float((w**2 * table["se_images"] ** 2).sum()), np.inf))
    spread = between_blocks(d, w, blocks)
    sampled = [] if spread is None else [spread, *([again] if again else [])]
    answers, noise = [], []
    mean = float(w @ d)
    n_repeats = int(table["df"].min()) + 1 if probe else 1
    for view, terms in ((SAMPLED, sampled), (THESE, these)):
        noise += [(view, t.name, np.sqrt(t.variance), t.df) for t in terms]
        if not terms:
            continue
        se, df = satterthwaite(terms)
        half = half_width(df) * se
        need = _needed(terms, len(np.unique(blocks)), n_repeats, sides, rope)
        for times in (0.5, 1.0, 2.0):
            found = student_areas(mean, se, df, times * rope)
            answers.append(
                (a, b, view, times * rope, mean, mean - half, mean + half, se, df, *vars(found).values(), need)
            )
    if not answers:
        raise NotApplicable(
            "Of two encoders on one task, without repeats of the probe, test images or pretraining seeds, nothing says how sure a difference is."
        )
    frame = pd.DataFrame(
        answers,
        columns=[
            "a",
            "b",
            "view",
            "region",
            "difference",
            "low",
            "high",
            "se",
            "df",
            "better",
            "equal",
            "worse",
            "needed",
        ],
    )
    if np.ptp(w) < 1e-12 and len(d) > 2 and len(np.unique(blocks)) == len(d):
        votes = signed_rank_areas(d, rope)
        frame = pd.concat(
            [
                frame,
                pd.DataFrame(
                    [(a, b, "signed-rank votes, tasks as independent", rope, mean, *vars(votes).values())],
                    columns=["a", "b", "view", "region", "difference", "better", "equal", "worse"],
                ),
            ],
            ignore_index=True,
        )
    layers = pd.DataFrame(noise, columns=["view", "source", "se", "df"])
    return Tables({"": frame, "tasks": table, "noise": layers}, counted=counted)


def _members(groups: Series, name: str) -> list[str]:
    if name in groups.index:
        return [name]
    found = [str(encoder) for encoder in groups.index[groups == name]]
    if not found:
        raise ScoresError(
            f"There is no encoder or repeat {name!r} among the scores; they have {names_in_words(list(groups.index))}."
        )
    return found


def _needed(terms: list[Term], n_blocks: int, n_repeats: int, sides: list[list[str]], rope: float) -> str:
    """What would bring the interval within the region, each of the sources alone being enlarged."""
    said = []
    for name, n, words in (
        ("tasks", n_blocks, "categories or tasks like these"),
        ("pretraining seeds", min(map(len, sides)), "pretraining seeds each"),
        ("repeats of the probe", n_repeats, "repeats of the probe"),
    ):
        grown = [term for term in terms if term.name == name]
        if grown:
            number = number_needed([term for term in terms if term.name != name], grown, n, rope)
            said.append(f"{number} {words} (now {n})" if number else f"no number of {words} up to 1000")
    return " or ".join(said)


def compute_field(data: Prepared, scaled: Scaled, weight: Series, rope: float, is_sampled: bool) -> Tables:
    """``field``: of every encoder (repeats together) P(best of all), and the leader's P(better, equal, worse) against it."""
    import pandas as pd

    groups = repeats_of(data)[scaled.wide.index]
    wide = scaled.wide.groupby(groups.to_numpy(), sort=False).mean()
    if len(wide) < 3:
        raise NotApplicable(
            "The leader against all others needs three encoders; name two with --option a=... --option b=..."
        )
    blocks, counted = blocks_of(data.categories[wide.columns])
    w = weight.to_numpy(float)
    x = wide.to_numpy(float)
    mean = x @ w
    sizes = groups.value_counts().loc[list(wide.index)].to_numpy(float)
    again = again_term(scaled.wide.to_numpy(float) @ w, list(groups), (1,))
    if is_sampled:
        noise = field_between_blocks(x, w, blocks)
    else:
        noise = probe_noise(repeats_by_task(scaled), w)
        counted = "these very tasks, repeats of the probe alone being noise"
    terms = [noise] if noise else []
    if again:
        terms.append(Term(again.name, again.variance * float((1 / sizes).mean()), again.df))
    if not terms:
        raise NotApplicable(
            "One task, without repeats of the probe or pretraining seeds: nothing says how sure the order is."
        )
    se, df = satterthwaite(terms)
    field = shrunken_field(mean, se**2, df)
    leader = int(mean.argmax())
    areas = field.against(leader, rope)
    table = pd.DataFrame(
        {"encoder": wide.index, "n_pretrained": sizes.astype(int), "mean": mean, "p_best": field.first}
    )
    for k, name in enumerate(("leader_better", "equal", "leader_worse")):
        table[name] = areas[:, k]
    table = table.sort_values("mean", ascending=False, kind="stable", ignore_index=True)
    return Tables({"": table}, counted=counted, kept=field.shrunk, se=se, counts_pretraining=again is not None)


def say(tables: Tables) -> list[str]:
    return say_pair(tables) if tables.facts["a"] else say_field(tables)


def say_pair(tables: Tables) -> list[str]:
    """The answer for the region asked for, then for half and twice of it; what was counted; what would settle it."""
    answers, noise = tables[""], tables["noise"]
    words, rope, view = (tables.facts[key] for key in ("scale", "region", "view"))
    views = [
        v for v in (view, *(set(answers["view"]) - {view})) if v in (SAMPLED, THESE) and (answers["view"] == v).any()
    ]
    lines = []
    sources = {"repeats of the probe", "test images", "pretraining seeds"}
    for name in views:
        # Between tasks all but pretraining shows in their spread.
        absent = sorted(
            (sources if name == THESE else {"pretraining seeds"}) - set(noise.loc[noise["view"] == name, "source"])
        )
        unknown = f"; not known, and not counted: {names_in_words(absent)}" if absent else ""
        part = answers[answers["view"] == name]
        row = part[part["region"] == rope].iloc[0]
        known = ", ".join(
            f"{r.source} (se {r.se:.4f}, df {r.df:.0f})" for r in noise[noise["view"] == name].itertuples()
        )
        lines.append(
            f"{row['a']} less {row['b']}, {words}, {name}: {row['difference']:+.4f} (95% {row['low']:+.4f} to {row['high']:+.4f}); "
            f"{_in_words(row)} with a region of {rope:g}; counted: {known}{unknown}"
        )
        others = "; ".join(f"{r.region:g}: {_in_words(r._asdict())}" for r in part[part["region"] != rope].itertuples())
        lines.append(f"{name}, with other regions: {others}")
        if row["needed"]:
            lines.append(f"{name}, the 95% interval would reach no further than the region with {row['needed']}")
    votes = answers[answers["view"].str.startswith("signed-rank")]
    if len(votes):
        lines.append(
            f"Bayesian signed-rank test, tasks as independent: votes {_in_words(votes.iloc[0])} (region {rope:g})"
        )
    return lines


def _in_words(row: Any) -> str:
    return f"better {row['better']:.3f}, practically equal {row['equal']:.3f}, worse {row['worse']:.3f}"


def say_field(tables: Tables) -> list[str]:
    """Who leads, how sure that is, who cannot be told from the leader."""
    table, about = tables[""], tables.facts
    leader, others, words, rope = table.iloc[0], table.iloc[1:], about["scale"], about["region"]
    sure = int((others["leader_better"] >= 0.95).sum())
    near = others.loc[others["equal"] >= 0.5, "encoder"]
    return [
        f"{leader['encoder']} leads {len(table)} encoders, {words} ({about['counted']}; standard error {about['se']:.4f}): P(best of "
        f"all) = {leader['p_best']:.2f}, {1 / len(table):.2g} for each if all were equal; that it was chosen from these scores is counted "
        f"({1 - about['kept']:.0%} of each difference is taken for luck)",
        f"region {rope:g}: better with P >= .95 than {sure} of {len(others)}; more likely practically equal than not: {names_in_words(list(near)) or 'none'}",
        "pretraining seeds are counted"
        if about["counts_pretraining"]
        else "pretraining seeds are not counted: no two encoders are repeats (column repeat)",
    ]


ANALYSIS = Analysis(
    name="decide",
    summary="Which encoder: better, practically equal or worse, under your weights, and what would settle it",
    source="Benavoli et al. 2017; Efron 2011 for the leader",
    compute=compute,
    draw=draw,
    say=say,
    typeset=typeset,
    min_encoders=2,
    options=(
        Option("a", "", "Encoder, or declared repeat, to compare with b; without, the leader against all others."),
        Option("b", "", "Encoder, or declared repeat, to compare a with."),
        WEIGHTS,
        Option(
            "region",
            0.0,
            "Difference that is practically none, on the scale used; 0: .01 of fractions or of chance to ceiling, 1 percent, else a tenth of a sd.",
            type=float,
        ),
        Option(
            "tasks",
            "sampled",
            "Whether tasks are a sample of their kind, or these very tasks are meant.",
            choices=("sampled", "these"),
        ),
        SCALE,
        EXCLUDE,
        MISSING,
    ),
)
