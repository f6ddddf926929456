"""Pretraining data against end tasks: which domain transfers where, and the margin of in-domain pretraining.

Cole et al. 2022, Table 1 (in-domain is best 4 of 4 times), Table 2 (pooled sets), and Kotar et al. 2021, Figure 7
(matched pairs). Pitfall: data sets differ in size and method as well; compare within one method and size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.analysis import Analysis, NotApplicable, Option, comma_list, names_in_words
from virb.contracts.tables import Notes, Tables
from virb.errors import UsageError
from virb.scores.layout import EXCLUDE, MISSING, match_tasks, prepare
from virb.scores.roles import ROLES_OPTION, analysed
from virb.scores.schema import as_words, encoder_table
from virb.stats.effects import domain_margins

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series


def compute(
    scores: DataFrame,
    notes: Notes,
    *,
    by: str,
    match: tuple[str, ...],
    roles: tuple[str, ...],
    exclude: tuple[str, ...],
    missing: str,
) -> Tables:
    """Mean score of each value of ``by`` on each task; ``margins``: of the tasks with data of their own."""
    data = prepare(
        scores,
        notes,
        exclude=exclude,
        missing=missing,
        is_complete=False,
        pick=lambda f: analysed(f, notes, asked=roles),
    )
    about = encoder_table(data.frame)
    if by not in about:
        raise UsageError(f"by={by!r} is no column about encoders; there are {names_in_words(list(about), 12)}.")
    groups = as_words(about[by].dropna())
    if len(groups) < len(about):
        notes.say(f"left out, {by} being unknown: {names_in_words(list(about.index[about[by].isna()]))}")
    groups, methods, caveat = _of_the_same_methods(about, groups, by, notes)
    # Methods weigh alike in every row, however many encoders each has there.
    wide = data.wide.loc[groups.index].groupby([groups, methods], sort=False).mean().groupby(level=0, sort=False).mean()
    counts = groups.value_counts()
    if len(wide) < 2:
        raise NotApplicable(f"It compares values of {by} among the encoders, and there are {len(wide)}.")
    wide = wide.dropna(axis=1, how="all")
    home = match_tasks(wide.columns, wide.index, match)
    members = groups.groupby(groups).agg(lambda part: " + ".join(part.index))
    tidy = wide.rename_axis(by).reset_index().melt(by, var_name="task", value_name="score")
    tidy["encoders"] = tidy[by].map(members)
    tidy["n_encoders"], tidy["is_in_domain"] = (
        tidy[by].map(counts),
        [home.get(t) == b for t, b in zip(tidy["task"], tidy[by], strict=True)],
    )
    margins = _margins(wide, home, notes)
    if not home:
        notes.say("no task is named after a data set; give pairs with --option match=task:dataset,...")
    categories = {str(task): data.categories[task] for task in wide.columns}
    tables = Tables({"": tidy}, by=by, tasks=categories, home=home, caveat=caveat, note=data.note)
    if home and not margins.empty:
        tables["margins"] = margins
    return tables


def _of_the_same_methods(about: DataFrame, groups: Series, by: str, notes: Notes) -> tuple[Series, Series, str]:
    """Encoders of the methods that all values of ``by`` have, their methods, and a caveat where there is no such method:
    two methods on one data set and a third on another would credit the methods' difference to the data."""
    import pandas as pd

    if "method" not in about or by == "method":
        return groups, pd.Series("", index=groups.index), ""
    methods = as_words(about.loc[groups.index, "method"])
    of = {value: set(methods[groups == value]) for value in dict.fromkeys(groups)}
    common = set.intersection(*of.values())
    if not common and len(of) > 1:
        said = "; ".join(f"{value}: {names_in_words(sorted(names), 3)}" for value, names in list(of.items())[:4])
        return (
            groups,
            methods,
            f"no method is common to all of {by} ({said}), so that differences are the methods' as well",
        )
    kept = methods.isin(common)
    if not kept.all():
        notes.say(
            f"left out, their method not being that of every {by}: {names_in_words(list(methods.index[~kept]))} "
            f"(compared are {names_in_words(sorted(common))})"
        )
    return groups[kept], methods[kept], ""


def say(tables: Tables) -> list[str]:
    caveat = tables.facts["caveat"]
    if "margins" not in tables:
        return [caveat] if caveat else []
    margins = tables["margins"]
    n = tables[""].dropna(subset=["score"]).groupby("task").size()
    by_luck = float((1 / n.loc[margins["task"]]).sum())
    return [
        f"in-domain pretraining is best on {int(margins['is_best'].sum())} of {len(margins)} tasks with data of their own (were all "
        f"equal, on {by_luck:.1f})" + (f"; {caveat}" if caveat else "")
    ]


def draw(tables: Tables) -> dict[str, Figure]:
    import numpy as np

    from virb.figures import plots

    facts, tidy = tables.facts, tables[""].copy()
    by, home = facts["by"], facts["home"]
    tidy[by] = tidy[by].astype(str)
    wide = tidy.pivot_table(index=by, columns="task", values="score", sort=False, dropna=False)[list(facts["tasks"])]
    rows = plots.choose(dict.fromkeys(tidy[by]), most=40, what=f"values of {by}")
    spreads = ((wide.max() - wide.min()) / wide.std().replace(0, np.nan)).sort_values(ascending=False, kind="stable")
    columns = plots.choose(
        spreads.index, most=24, what="tasks, by how far the values are apart,", drawn_as=wide.columns
    )
    wide = wide.loc[rows.names, columns.names]
    counts = tidy.drop_duplicates(by).set_index(by)["n_encoders"]
    centred = wide - wide.mean()
    spread = centred / centred.abs().max().replace(0, np.nan)
    best = np.array([[wide.loc[b, t] == wide[t].max() for t in wide.columns] for b in wide.index])
    with plots.style():
        n_rows, n_columns = wide.shape
        long = plots.text_width([str(t) for t in wide.columns], 6.5)
        width = max(plots.COLUMN, min(plots.PAGE, 1.0 + 0.36 * n_columns))
        fig = plots.figure(width, 0.25 + long + 0.19 * max(n_rows, 2))
        axes = fig.add_subplot()
        plots.heatmap(axes, spread, cmap=plots.DIVERGING, vmin=-1.6, vmax=1.6, size=0.1)
        for text in list(axes.texts):
            text.remove()
        names = [f"{b} ({counts[b]})" for b in wide.index]
        cell = (width - 0.1 - min(0.5 * width, plots.text_width(names, 6.5))) / n_columns
        written = [plots.score_text(value) for value in wide.to_numpy().ravel() if np.isfinite(value)]
        size = min(6.5, 0.9 * cell / max(plots.text_width(written, 1, "bold"), 1e-9))
        for i, b in enumerate(wide.index):
            for j, t in enumerate(wide.columns):
                value = plots.score_text(float(wide.iloc[i, j])) if wide.notna().iloc[i, j] else ""
                axes.text(
                    j, i, value, ha="center", va="center", fontsize=size, weight="bold" if best[i, j] else "normal"
                )
                if home.get(str(t)) == b:
                    axes.add_patch(
                        plots.Rectangle(
                            (j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=plots.BLACK, linewidth=1.3, zorder=5
                        )
                    )
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.set_yticks(range(n_rows), names)
        axes.tick_params(axis="x", rotation=90)
        for label, task in zip(axes.get_xticklabels(), columns.names, strict=True):
            if category := facts["tasks"][task]:
                label.set_color(plots.darker(plots.category_colours([category])[category]))
        note = f"Mean score of encoders by {by} (number of encoders). Bold: best of the column; frame: in-domain; "
        note += f"colour: above (red) or below (blue) the column's mean. {plots.sentence(facts['caveat'])} {rows.note}{columns.note}{facts['note']}"
        plots.titles(
            fig,
            f"{by.capitalize()} of pretraining against end tasks",
            note,
            handles=plots.category_handles(facts["tasks"].values()),
        )
    return {"": fig}


def _margins(wide: DataFrame, home: dict[str, str], notes: Notes) -> DataFrame:
    """Margins of the tasks with data of their own, each over the values that have a score on it."""
    import pandas as pd

    tables = []
    for task, own in home.items():
        known = wide[[task]].dropna()
        if own in known.index and len(known) > 1:
            tables.append(domain_margins(known, pd.Series({task: own})))
        else:
            notes.say(f"{task} has no margin: {own if own not in known.index else 'every other'} has no score on it")
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


ANALYSIS = Analysis(
    name="domain-matrix",
    summary="Pretraining data against end tasks, with the margin of in-domain pretraining",
    source="Cole et al. 2022, Tables 1 and 2; Kotar et al. 2021, Figure 7",
    compute=compute,
    draw=draw,
    say=say,
    needs=("dataset",),
    min_encoders=2,
    options=(
        Option("by", "dataset", "Column of the encoder in the rows."),
        Option(
            "match", (), "In-domain pairs task:dataset, with commas between; by name if not given.", type=comma_list
        ),
        ROLES_OPTION,
        EXCLUDE,
        MISSING,
    ),
)
