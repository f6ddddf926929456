"""Two pretraining methods task by task: the difference of their means, unscaled and in percent of the second.

Kotar et al. 2021, Figure 5 (MoCo v2 against SwAV over five data sets). Its caption says the difference is unscaled,
while its text, axis and code divide by the second method's mean: both are drawn, and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, OUTLIERS, prepare, without_outliers
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.stats.effects import paired_differences

if TYPE_CHECKING:
    from pandas import DataFrame


def run(
    scores: DataFrame,
    out: Outputs,
    *,
    by: str,
    compare: tuple[str, ...],
    outliers: tuple[str, ...],
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> None:
    import pandas as pd

    from virb.figures import plots

    data = without_outliers(
        prepare(scores, out.lines, exclude=exclude, missing=missing, is_complete=False), outliers, out.lines
    )
    about = encoder_table(data.frame)
    if by not in about:
        raise UsageError(f"by={by!r} is no column about encoders; there are {names_in_words(list(about), 12)}.")
    if not compare:  # two values that are named are compared whatever their encoders' role is
        about = about.loc[analysed(data.frame, out.lines, asked=roles)]
    groups = as_words(about[by].dropna())
    if len(groups) < len(about):
        out.say(f"left out, {by} being unknown: {names_in_words(list(about.index[about[by].isna()]))}")
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
    a, b = (list(groups.index[groups == name]) for name in (first, second))
    tables = []
    for task in data.wide.columns:  # one by one, so that a score left out leaves its encoder to the other tasks
        known = data.wide[[task]].dropna()
        own = [[name for name in group if name in known.index] for group in (a, b)]
        if not all(own):
            out.say(f"{task} is left out: no score of {first if not own[0] else second} on it")
            continue
        members = {f"encoders_{side}": " + ".join(names) for side, names in zip("ab", own, strict=True)}
        tables.append(paired_differences(known, *own).assign(**members))
    if not tables:
        raise NotApplicable(f"{first} and {second} have no task in common.")
    table = pd.concat(tables, ignore_index=True)
    table["category"] = table["task"].map(data.categories)
    table.insert(0, "b", second)
    table.insert(0, "a", first)
    out.table(table)
    found = table["low"].notna() & ((table["low"] > 0) | (table["high"] < 0))
    out.say(
        f"{first} (n = {len(a)}) less {second} (n = {len(b)}): better on {int((table['difference'] > 0).sum())} of "
        f"{len(table)} tasks; the 95% interval leaves out 0 on {int(found.sum())}"
    )
    unclear = table[~found & table["detectable"].notna()]
    if len(unclear):
        out.say(
            "not told from 0, with the difference found four times in five: "
            + ", ".join(f"{row.task} {row.detectable:.3f}" for row in unclear.itertuples())
        )
    with plots.style():
        fig = plots.figure(plots.PAGE, plots.bars_height(len(table)))
        left, right = fig.subplots(1, 2, sharey=True)
        colours = plots.task_colours(data.categories, table["task"])
        plots.bars(left, list(table["task"]), list(table["difference"]), colours, low=table["low"], high=table["high"])
        plots.bars(
            right,
            list(table["task"]),
            list(table["relative"]),
            colours,
            low=table["relative_low"],
            high=table["relative_high"],
        )
        for axes in (left, right):
            axes.locator_params(axis="x", nbins=5)
        left.set_xlabel(f"{first} less {second} (score)")
        right.set_xlabel(f"{first} less {second} (% of |{second}|)")
        handles = plots.category_handles(data.categories)
        lines = (
            "Lines: 95% Welch interval over encoders."
            if table["low"].notna().any()
            else "One encoder a group: no interval."
        )
        plots.titles(
            fig,
            f"{first} against {second}",
            f"n = {len(a)} and {len(b)} encoders. {lines} {data.note}",
            handles=handles,
        )
    out.figure(fig)


ANALYSIS = Analysis(
    name="method-difference",
    summary="Two pretraining methods task by task, unscaled and relative",
    source="Kotar et al. 2021, Figure 5",
    run=run,
    needs=("method",),
    min_encoders=2,
    options=(
        Option("by", "method", "Column whose two values are compared."),
        Option(
            "compare", (), "The two values, with a comma between; the two most frequent if not given.", type=comma_list
        ),
        OUTLIERS,
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
