"""Two pretraining methods task by task: the difference of their means, unscaled and in percent of the second.

Kotar et al. 2021, Figure 5 (MoCo v2 against SwAV over five data sets). Its caption says the difference is unscaled,
while its text, axis and code divide by the second method's mean: both are drawn, and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.families import FAMILY, declared_families
from virb.scores.layout import EXCLUDE, MISSING, OUTLIERS, prepare, without_outliers
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.scores.units import units_by_task
from virb.stats.clusters import family_differences
from virb.stats.effects import paired_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    by: str,
    compare: tuple[str, ...],
    family: str,
    outliers: tuple[str, ...],
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    import pandas as pd

    data = without_outliers(
        prepare(scores, notes, exclude=exclude, missing=missing, is_complete=False), outliers, notes
    )
    about = encoder_table(data.frame)
    if by not in about:
        there = f"is no column about encoders; there are {names_in_words(list(about), 12)}"
        if by == "method":
            raise NotApplicable(f"It compares two values of a column, and method {there}: --option by=COLUMN.")
        raise UsageError(f"by={by!r} {there}.")
    if not compare:  # two values that are named are compared whatever their encoders' role is
        about = about.loc[analysed(data.frame, notes, asked=roles)]
    groups = as_words(about[by].dropna())
    if len(groups) < len(about):
        notes.say(f"left out, {by} being unknown: {names_in_words(list(about.index[about[by].isna()]))}")
    counts = groups.value_counts()
    if compare:
        if len(compare) != 2 or any(name not in set(groups) for name in compare):
            raise UsageError(f"compare={','.join(compare)}: expected two of {names_in_words(sorted(set(groups)), 12)}.")
        first, second = compare
    elif len(counts) < 2:
        raise NotApplicable(
            f"It compares two values of {by} among encoders, and there {'is one' if len(counts) else 'is none'}."
        )
    else:
        first, second = sorted(counts.index[:2])
        if len(counts) > 2:
            rest = [f"{name} ({n})" for name, n in counts.items()]
            notes.say(
                f"of the {len(counts)} values of {by} the two with most encoders are compared, the first of equals "
                f"({names_in_words(rest, 8)}); --option compare=A,B chooses others"
            )
    a, b = (list(groups.index[groups == name]) for name in (first, second))
    families = declared_families(data.frame, [*a, *b], notes, column=family, besides=[by])
    of = None if families.labels is None else dict(zip([*a, *b], families.labels, strict=True))
    tables = []
    for task in data.wide.columns:  # one by one, so that a score left out leaves its encoder to the other tasks
        known = data.wide[[task]].dropna()
        own = [[name for name in group if name in known.index] for group in (a, b)]
        if not all(own):
            notes.say(f"{task} is left out: no score of {first if not own[0] else second} on it")
            continue
        members = {f"encoders_{side}": " + ".join(names) for side, names in zip("ab", own, strict=True)}
        found = paired_differences(known, *own) if of is None else family_differences(known, *own, of)
        tables.append(found.assign(**members))
    if not tables:
        raise NotApplicable(f"{first} and {second} have no task in common.")
    table = pd.concat(tables, ignore_index=True)
    table["category"] = table["task"].map(data.categories)
    table.insert(0, "b", second)
    table.insert(0, "a", first)
    if "unit" in data.frame:
        table["unit"] = table["task"].map(units_by_task(data.frame))
    return Tables(
        {"": table},
        a=first, b=second, n_a=len(a), n_b=len(b),
        n_families_a=len({of[name] for name in a}) if of else 0, n_families_b=len({of[name] for name in b}) if of else 0,
        counted=f"each of {families.n} families ({families.column}) counts once" if of else families.warning,
        note=data.note,
    )  # fmt: skip


def say(tables: Tables) -> list[str]:
    table, facts = tables[""], tables.facts
    has_interval = table["low"].notna()
    found = has_interval & ((table["low"] > 0) | (table["high"] < 0))
    n_a, n_b = (
        f"n = {facts[f'n_{side}']}" + f" of {facts[f'n_families_{side}']} families" * bool(facts["n_families_a"])
        for side in "ab"
    )
    intervals = (
        f"the 95% interval leaves out 0 on {int(found.sum())} (equal groups: about {0.05 * has_interval.sum():.2g})"
    )
    if not has_interval.any():
        alone = "one family" if facts["n_families_a"] else "one encoder"
        intervals = f"no interval, for {alone} decides the mean of {facts['a']} or {facts['b']}"
    counted = f"; {facts['counted']}" if facts["counted"] and (has_interval.any() or facts["n_families_a"]) else ""
    lines = [
        f"{facts['a']} ({n_a}) less {facts['b']} ({n_b}): better on {int((table['difference'] > 0).sum())} of {len(table)} tasks; "
        f"{intervals}{counted}"
    ]
    unclear = table[~found & table["detectable"].notna()]
    if len(unclear):
        lines.append(
            "not told from 0, with the difference found four times in five: "
            + ", ".join(f"{row.task} {row.detectable:.3f}" for row in unclear.itertuples())
        )
    return lines


def draw(tables: Tables) -> dict[str, Figure]:
    """Differences, each unit on an axis of its own, and beside them in percent of the second."""
    from virb.figures import plots

    table, facts = tables[""], tables.facts
    first, second = facts["a"], facts["b"]
    order = table["difference"].sort_values(ascending=False, kind="stable").index
    chosen = plots.choose(table["task"].loc[order], what="tasks", drawn_as=table["task"])
    table = table[table["task"].isin(set(chosen.names))]
    groups = plots.one_axis_each(table, ["mean_a", "mean_b"])
    with plots.style():
        fig = plots.figure(plots.PAGE, plots.bars_height(len(table)) + 0.4 * (len(groups) - 1))
        ratios = [max(len(part), 2) for _, part in groups]
        grid = fig.subplots(len(groups), 2, squeeze=False, sharey="row", height_ratios=ratios)
        for (left, right), (unit, part) in zip(grid, groups, strict=True):
            names = list(part["task"])
            colours = plots.task_colours(dict(zip(names, part["category"], strict=True)), names)
            plots.bars(left, names, list(part["difference"]), colours, low=part["low"], high=part["high"])
            plots.bars(
                right, names, list(part["relative"]), colours, low=part["relative_low"], high=part["relative_high"]
            )
            for axes in (left, right):
                axes.locator_params(axis="x", nbins=5)
            left.set_xlabel(f"difference ({unit or 'score'})")
        right.set_xlabel(f"difference (% of |{second}|)")
        handles = plots.category_handles(table["category"])
        what = "interval" if facts["n_families_a"] else "Welch interval"
        lines = f"Lines: 95% {what} over encoders." if table["low"].notna().any() else "No interval: one of a group."
        shared = f" {plots.sentence(facts['counted'])}." if facts["counted"] else ""
        plots.titles(
            fig,
            f"{first} less {second}",
            f"n = {facts['n_a']} and {facts['n_b']} encoders. {lines}{shared} {chosen.note}{facts['note']}",
            handles=handles,
        )
    return {"": fig}


ANALYSIS = Analysis(
    name="method-difference",
    summary="Two pretraining methods task by task, unscaled and relative",
    source="Kotar et al. 2021, Figure 5",
    compute=compute,
    draw=draw,
    say=say,
    min_encoders=2,
    options=(
        Option("by", "method", "Column whose two values are compared."),
        Option(
            "compare", (), "The two values, with a comma between; the two most frequent if not given.", type=comma_list
        ),
        FAMILY,
        OUTLIERS,
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
