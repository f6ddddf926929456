"""Two pretraining methods task by task: the difference of their means, unscaled and in percent of the second.

Kotar et al. 2021, Figure 5 (MoCo v2 against SwAV over five data sets). Its caption says the difference is unscaled,
while its text, axis and code divide by the second method's mean: both are drawn, and named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, Outputs, comma_list, names_in_words
from virb.errors import ScoresError, UsageError
from virb.scores.table import EXCLUDE, MISSING, OUTLIERS, encoder_kind, encoder_table, prepare, without_outliers
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
    exclude: tuple[str, ...],
    missing: str,
) -> None:
    import pandas as pd

    from virb.figures import plots

    data = without_outliers(prepare(scores, out, exclude=exclude, missing=missing), outliers, out)
    about = encoder_table(data.frame)
    if by not in about:
        raise UsageError(f"by={by!r} is no column of the scores; they have {names_in_words(list(about), 12)}.")
    groups = about[by].astype(str)
    ssl = encoder_kind(data.frame) == "self-supervised"
    counts = groups[ssl & about[by].notna()].value_counts()
    if compare:
        if len(compare) != 2 or any(name not in set(groups) for name in compare):
            raise UsageError(f"compare={','.join(compare)}: expected two of {names_in_words(sorted(set(groups)), 12)}.")
        first, second = compare
    elif len(counts) < 2:
        raise NotApplicable(f"It compares two values of {by} among self-supervised encoders, and there is one.")
    else:
        first, second = sorted(counts.index[:2])
    a, b = (list(groups.index[groups == name]) for name in (first, second))
    tables = []
    for task in data.wide.columns:  # one by one, so that a score left out leaves its encoder to the other tasks
        known = data.wide[[task]].dropna()
        own = [[name for name in group if name in known.index] for group in (a, b)]
        if not all(own):
            raise ScoresError(f"No score of {first if not own[0] else second} on {task} is left.")
        tables.append(paired_differences(known, *own))
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
        EXCLUDE,
        MISSING,
    ),
)
