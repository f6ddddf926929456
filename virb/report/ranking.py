"""Which encoder ranks first, and how sure that is, in sentences that also say what cannot be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from virb.contracts.analysis import names_in_words
from virb.errors import ScoresError
from virb.report.study import Study
from virb.scores.layout import missing_cells, ranked_part
from virb.scores.units import on_one_scale
from virb.stats.ranking import critical_difference, holm_wilcoxon, leader_against_others, nemenyi_against, task_ranks
from virb.stats.signed_rank import smallest_holm_p
from virb.stats.standing import Standing, leader_by_luck, rank_bootstrap, rank_stability, standing

ALPHA = 0.05
TOP = 3
MIN_TASKS = 5  # fewer give resamples of a handful of values, and tests whose approximations do not hold


@dataclass(frozen=True)
class Ranking:
    """Encoders by their mean rank over the tasks that they are ranked on (:func:`virb.scores.layout.ranked_part`).

    ``order`` holds every encoder, best first where they can be ranked. ``table`` (encoders, best first) has mean_rank
    and rank, and with enough tasks low, high (95 % of the rank), p_first and p_top; it is empty where nothing can be
    ranked. ``by_category`` has the mean rank inside each category. ``sentences`` say it.
    """

    order: list[str]
    table: pd.DataFrame
    by_category: pd.DataFrame
    n_tasks: int
    sentences: list[str]

    def row(self, encoder: str) -> dict[str, float]:
        """What the table has of an encoder; empty where it is not ranked."""
        if encoder not in self.table.index:
            return {}
        row: Any = self.table.loc[encoder]
        return {str(name): float(value) for name, value in row.items()}


def rank(study: Study) -> Ranking:
    """Rank the encoders of a study as far as its scores allow; nothing is raised for what they do not allow."""
    complete = ranked_part(study.means)
    nothing = pd.DataFrame(index=study.means.index[:0])
    if len(study.encoders) < 2:
        said = ["There is one encoder, so nothing can be ranked: read its scores against chance and their intervals."]
        return Ranking(study.encoders, nothing, nothing, complete.shape[1], said)
    if complete.shape[1] == 0 or len(complete) < 2:
        said = ["No end task was scored with all encoders, so they cannot be ranked.", *_left_out(study, complete)]
        return Ranking(study.encoders, nothing, nothing, 0, said)
    ranks = task_ranks(complete)
    mean = ranks.mean(axis=1).rename("mean_rank")
    table = pd.DataFrame({"mean_rank": mean, "rank": mean.round(10).rank()}).sort_values("mean_rank", kind="stable")
    order = [*map(str, table.index), *(name for name in study.encoders if name not in table.index)]
    categories = study.categories.loc[complete.columns]
    by_category = nothing
    if categories.nunique() > 1:
        by_category = ranks.T.groupby(categories, sort=False).mean().T.loc[table.index]
    said = [_leader(table, complete), *_left_out(study, complete)]
    if complete.shape[1] < MIN_TASKS:
        said.append(
            f"That is too few end tasks to say how sure this order is: fewer than {MIN_TASKS} cannot be resampled into an "
            "interval, and tests over so few rest on approximations."
        )
    elif _is_tied(complete):
        said.append("All encoders tie on every end task.")
    else:
        found = standing(complete, categories, top=TOP) if len(complete) > 2 else None
        drawn = found.table if found else rank_bootstrap(complete, top=TOP)
        luck = found.luck_first if found else leader_by_luck(*complete.shape)
        table = _with_intervals(table, drawn)
        said += _certainty(table, complete, study, found, luck)
    return Ranking(order, table, by_category, complete.shape[1], said)


def _is_tied(complete: pd.DataFrame) -> bool:
    return bool((complete.nunique() == 1).all())


def _left_out(study: Study, complete: pd.DataFrame) -> list[str]:
    cells = missing_cells(study.means)
    if not cells:
        return []
    missing = names_in_words([f"{encoder} on {task}" for encoder, task in cells])
    gone = [name for name in study.encoders if name not in complete.index]
    unranked = f"; not ranked, lacking too many of them: {names_in_words(gone)}" if gone and complete.size else ""
    who = "those that are ranked" if unranked else "all of them"
    return [
        f"{len(cells)} of {study.means.size} scores are missing ({missing}); nothing is filled in, and encoders are ranked "
        f"over the {complete.shape[1]} of {len(study.tasks)} end tasks that {who} have{unranked}."
    ]


def _leader(table: pd.DataFrame, complete: pd.DataFrame) -> str:
    n = complete.shape[1]
    first = [str(name) for name in table.index[table["rank"] == table["rank"].min()]]
    mean = table["mean_rank"].iloc[0]
    if n == 1:
        verb = "scores" if len(first) == 1 else "score"
        return f"{names_in_words(first)} {verb} highest of {len(table)} encoders on the one end task, {complete.columns[0]}."
    if len(first) > 1:
        return f"{names_in_words(first)} tie for the first rank, with a mean rank of {mean:.2f} over {n} end tasks."
    return f"{first[0]} ranks first of {len(table)} encoders, with a mean rank of {mean:.2f} over {n} end tasks."


def _with_intervals(table: pd.DataFrame, drawn: pd.DataFrame) -> pd.DataFrame:
    columns = {"low": drawn["low"], "high": drawn["high"], "p_first": drawn["p_first"], "p_top": drawn["p_top"]}
    return table.assign(**{name: values.loc[table.index] for name, values in columns.items()})


def _certainty(
    table: pd.DataFrame, complete: pd.DataFrame, study: Study, found: Standing | None, luck: float
) -> list[str]:
    first, row = str(table.index[0]), table.iloc[0]
    said = [
        f"Over end tasks resampled freely, as if independent, the rank of {first} is {span(row['low'], row['high'])} (95% "
        f"interval), and it is first, alone, in {row['p_first']:.0%} of draws"
        + (f", among the best {TOP} in {row['p_top']:.0%}." if len(table) > TOP else ".")
        + f" The leader of {len(table)} equal encoders would be first in {luck:.0%}."
    ]
    try:
        said += _tests(first, complete, study, found)
    except ScoresError as error:
        said.append(str(error))
    if (table["rank"] == row["rank"]).sum() == 1:
        said += _without(first, complete, study.categories.loc[complete.columns])
    said.append(
        "All this is about other end tasks of the kind, with these very encoders and heads. A mean rank says who is ahead, "
        "not by how much."
    )
    return said


def span(low: float, high: float) -> str:
    """An interval of ranks; one number where both ends are it."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _tests(first: str, complete: pd.DataFrame, study: Study, found: Standing | None) -> list[str]:
    n_encoders, n_tasks = complete.shape
    scaled, scale = on_one_scale(study.frame, complete)
    if found is None:
        p, least = float(holm_wilcoxon(scaled)["p"].iloc[0]), smallest_holm_p(n_tasks, 1)
        verdict = "the two differ" if p < ALPHA else "no difference between the two is shown"
        reach = f"; {n_tasks} end tasks cannot give less than {least:.2g}" if least >= ALPHA else ""
        return [f"Wilcoxon's signed-rank test over end tasks: {verdict} ({_p(p)}){reach}."]
    test = found.friedman
    verdict = "the encoders differ" if found.p < ALPHA else "no difference between the encoders is shown"
    reach = f", which cannot fall below {found.least_p:.2g}" if found.least_p >= ALPHA else ""
    said = [
        f"Friedman's test, encoders shuffled on {found.blocks}: {verdict} ({_p(found.p)}{reach}; agreement of the end tasks, "
        f"Kendall's W, {test.kendall_w:.2f})."
        + (f" Counting tasks as independent it would be {_p(found.p_tasks)}." if found.p != found.p_tasks else "")
    ]
    p_pairs = nemenyi_against(complete, first)
    alike = [str(name) for name in test.mean_ranks.index if name != first and p_pairs[name] >= ALPHA]
    limit = critical_difference(n_encoders, n_tasks, alpha=ALPHA)
    basis = (
        f"Nemenyi's test at {ALPHA:.0%} (critical difference of mean ranks {limit:.2f}; tasks counted as independent)"
    )
    if alike:
        said.append(
            f"{basis} cannot tell {first} from {len(alike)} of the {n_encoders - 1} others: {names_in_words(alike)}."
        )
    else:
        said.append(f"{basis} tells {first} from every other.")
    against = leader_against_others(scaled)
    verdict = (
        f"tells it from {int((against.table['p'] < ALPHA).sum())} of the {n_encoders - 1} others"
        if against.least_p < ALPHA
        else f"is impossible: with {n_tasks} end tasks none can fall below {against.least_p:.2g}"
    )
    said.append(
        f"Wilcoxon's signed-rank test of {against.name}'s scores ({scale}), its choice from these very scores counted, {verdict}. "
        "Both tests grow more cautious with every encoder that is compared; the resampled ranks do not."
    )
    return said


def _without(first: str, complete: pd.DataFrame, categories: pd.Series) -> list[str]:
    single = rank_stability(complete)
    others = single[single["best"] != first]
    said = (
        f"Without {names_in_words([f'{row.left_out} ({row.best} leads)' for row in others.itertuples()], 4)} another leads."
        if len(others)
        else f"{first} leads too when any one end task is left out."
    )
    out = [said]
    if categories.nunique() > 1:
        groups = rank_stability(complete, categories)
        others = groups[groups["best"] != first]
        if len(others):
            named = names_in_words([f"{row.left_out} ({row.best} leads)" for row in others.itertuples()], 4)
            out.append(f"Without the category {named} another leads.")
    return out


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {value:.2g}"
