"""The leaderboard: encoders in rows, end tasks in columns by category, each cell shaded inside its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from virb.report.provenance import MARK, overrides
from virb.report.ranking import TOP, span
from virb.report.settings import Setting
from virb.report.study import Study, as_text, score_text
from virb.report.view import Bar, Cell
from virb.scores.layout import seeds_in_words
from virb.scores.schema import encoder_table

SHADES = 9
ABOUT = ("method", "dataset", "dataset_size", "epochs")


@dataclass(frozen=True)
class Group:
    """A category and the heads of its columns; ``key`` is what a filter calls it."""

    name: str
    key: str
    tasks: list[Cell]
    has_rank: bool


@dataclass(frozen=True)
class Row:
    """One encoder: its place, its name with what is known of it, and its other cells."""

    encoder: Cell
    place: Cell
    role: str
    family: str
    about: str
    cells: list[Cell] = field(default_factory=list)


@dataclass(frozen=True)
class Leaderboard:
    """A whole leaderboard, of one probe and one number of labels."""

    label: str
    key: str
    groups: list[Group]
    rows: list[Row]
    has_rank: bool
    has_interval: bool
    n_encoders: int


def leaderboard(setting: Setting, key: str, links: Mapping[str, Mapping[str, str]]) -> Leaderboard:
    """Lay a setting out; ``links`` has the pages of the "encoders" and "tasks"."""
    study, ranking = setting.study, setting.ranking
    has_rank, has_interval = not ranking.table.empty, "low" in ranking.table
    groups = []
    for k, (category, tasks) in enumerate(by_category(study).items()):
        heads = [_task_head(study, task, links["tasks"][task]) for task in tasks]
        groups.append(Group(category, f"c{k}", heads, len(tasks) > 1 and category in ranking.by_category))
    of_role, of_family = study.roles, study.families
    about = encoder_table(study.frame)
    best_rank = {str(name): float(values.min()) for name, values in ranking.by_category.items()}
    rows = []
    for encoder in ranking.order:
        found = ranking.row(encoder)
        n_best, n_scores = len(study.best_on(encoder)), len(study.scores(encoder))
        best_on = Cell(str(n_best), n_best, title=f"best on {n_best} of {n_scores} end tasks", kind="extra")
        cells = [replace(_rank_cell(found, len(study.encoders)), kind="rank")] if has_rank else []
        cells += [replace(_p_first(found, len(study.encoders)), kind="extra")] if has_interval else []
        cells.append(best_on)
        for group, tasks in zip(groups, by_category(study).values(), strict=True):
            if group.has_rank:
                cells.append(replace(_category_rank(setting, encoder, group.name, best_rank), key=group.key))
            cells += [replace(score_cell(study, encoder, task), key=group.key) for task in tasks]
        said = [(name, as_text(about.loc[encoder, name])) for name in ABOUT if name in about]
        said = [(name, text) for name, text in said if text not in ("", "0", "none", of_role[encoder])]
        rows.append(
            Row(
                encoder=Cell(encoder, href=links["encoders"][encoder]),
                place=Cell(f"{found['rank']:g}" if found else "–", found.get("rank"), kind="place"),
                role=of_role[encoder],
                family=of_family[encoder],
                about=" · ".join(_said(name, text) for name, text in said),
                cells=cells,
            )
        )
    return Leaderboard(setting.label, key, groups, rows, has_rank, has_interval, len(study.encoders))


def _said(name: str, text: str) -> str:
    return {"dataset_size": f"{text} images", "epochs": f"{text} epochs"}.get(name, text)


def _task_head(study: Study, task: str, link: str) -> Cell:
    parts = [", ".join(study.said("metric", task=task))]
    if task in study.chance:
        parts.append(f"chance {score_text(study.chance[task])}")
    n_test = study.said("n_test", task=task)
    parts += [f"{' or '.join(n_test)} test examples"] if n_test else []
    return Cell(task, href=link, title="; ".join(part for part in parts if part))


def _rank_cell(found: Mapping[str, float], n_encoders: int) -> Cell:
    if not found:
        return Cell("–")
    text = f"{found['mean_rank']:.2f}"
    if "low" not in found:
        return Cell(text, found["mean_rank"])
    said = f"rank {found['rank']:g} of {n_encoders}; {span(found['low'], found['high'])} over resampled end tasks (95%)"
    bar = Bar.on(found["low"], found["high"], found["rank"], scale=(1, n_encoders))
    return Cell(text, found["mean_rank"], bar=bar, spread=span(found["low"], found["high"]), title=said)


def _p_first(found: Mapping[str, float], n_encoders: int) -> Cell:
    if "p_first" not in found:
        return Cell("–")
    among = f"; among the best {TOP} in {found['p_top']:.0%}" if n_encoders > TOP else ""
    return Cell(f"{found['p_first']:.0%}", found["p_first"], title=f"first in {found['p_first']:.0%} of draws{among}")


def _category_rank(setting: Setting, encoder: str, category: str, best: Mapping[str, float]) -> Cell:
    ranks = setting.ranking.by_category
    if encoder not in ranks.index:
        return Cell("–")
    value = float(ranks[category][encoder])
    return Cell(f"{value:.1f}", value, is_best=value <= best[category], title=f"mean rank in {category}: {value:.2f}")


def score_cell(study: Study, encoder: str, task: str) -> Cell:
    """One score: its sd over seeds, its interval on the task's scale, its shade inside the task, and what marks it."""
    score = study.score(encoder, task)
    if np.isnan(score):
        return Cell("–", title=f"{encoder} has no score on {task}")
    values = study.values(task)
    low, high = study.scale(task)
    shade = round(max(score - low, 0.0) / (high - low) * (SHADES - 1)) if high > low else SHADES // 2
    found = study.intervals.get((encoder, task))
    bar = Bar.on(found.low, found.high, score, scale=(low, high)) if found else None
    departs = overrides(study, encoder=encoder, task=task)
    said = [f"{encoder} on {task}: {score_text(score)}"]
    said += [f"95% interval {score_text(found.low)} to {score_text(found.high)} ({found.how})"] if found else []
    rank = study.rank(encoder, task)
    said += [f"rank {rank:g} of {len(values)}"] if len(values) > 1 else []
    return Cell(
        score_text(score),
        score,
        spread=study.spread_text(encoder, task),
        bar=bar,
        shade=shade if len(values) > 1 else None,
        is_best=len(study.encoders) > 1 and score >= high,
        mark=MARK if departs else "",
        mark_means=", ".join(departs),
        title="; ".join(said),
    )


def by_category(study: Study) -> dict[str, list[str]]:
    """Tasks under their categories, in order."""
    out: dict[str, list[str]] = {}
    for task in study.tasks:
        out.setdefault(str(study.categories[task]), []).append(task)
    return out


def legend(study: Study) -> list[str]:
    """What the numbers are, a sentence each."""
    out = ["Higher is better in every column"]
    out.append(
        f"Mean ± standard deviation over {seeds_in_words(*study.seeds)}" if study.seeds[1] > 1 else "One seed a score"
    )
    if len(study.encoders) > 1:
        out.append(
            "Colour: place between the lowest and the highest score of the end task (scores far below the others left aside)"
        )
        out.append("Bold: the highest, which need not be better than the next by more than noise")
    if study.intervals:
        out.append("Bar below a score: its 95% interval over other test examples, on the end task's own scale")
    if overrides(study):
        out.append(f"{MARK}: a run that departs from the protocol ({'; '.join(overrides(study))})")
    return out


def intervals_note(study: Study, *, encoder: str | None = None, task: str | None = None) -> list[str]:
    """What the intervals of an encoder or of a task are, and why some are not there."""
    encoders = study.encoders if encoder is None else [encoder]
    cells = [(e, t) for e in encoders for t in (study.tasks if task is None else [task])]
    hows = sorted({study.intervals[cell].how for cell in cells if cell in study.intervals})
    out: list[str] = []
    if hows:
        out.append(
            f"The interval is that of other test examples alone: {', or '.join(hows)}. Another seed or another pretraining "
            "moves a score further, and encoders share their test examples, so that overlapping intervals do not say that "
            "two encoders are alike."
        )
    reasons: dict[str, list[str]] = {}
    for name in dict.fromkeys(t for e, t in cells if (e, t) not in study.intervals and (e, t) in study.rows):
        reasons.setdefault(study.no_interval.get(name, "not known."), []).append(name)
    return out + [f"No interval for {', '.join(tasks)}: {why}" for why, tasks in reasons.items()]
