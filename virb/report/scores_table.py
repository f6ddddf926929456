"""The table of scores: end tasks by category x encoders, the best of each row marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from virb.report.html import Cell, Markup, Section, joined, table, tag
from virb.report.provenance import MARK, overrides
from virb.report.study import Study, score_text

MANY = 8  # encoders, beyond which their names stand upright


def scores_table(study: Study, order: list[str], links: Mapping[str, Mapping[str, str]]) -> Markup:
    """Scores as means over seeds with their sd; ``links`` has the pages of the "encoders" and "tasks"."""
    has_metric, has_chance = bool(study.said("metric")), bool(study.chance)
    heads: list[object] = ["end task", *(["metric"] if has_metric else []), *(["chance"] if has_chance else [])]
    heads += [tag("a", name, href=links["encoders"][name]) for name in order]
    sections = []
    for category, tasks in by_category(study).items():
        rows = []
        for task in tasks:
            row: list[object] = [tag("a", task, href=links["tasks"][task])]
            row += [", ".join(study.said("metric", task=task))] if has_metric else []
            if has_chance:
                chance = study.chance.get(task)
                row.append("–" if chance is None else Cell(score_text(chance), chance))
            rows.append(row + [score_cell(study, encoder, task) for encoder in order])
        sections.append(Section(rows, category))
    return table("Scores of end tasks (rows) by encoder (columns)", heads, sections, is_vertical=len(order) > MANY)


def score_cell(study: Study, encoder: str, task: str) -> Cell:
    """One score, with its sd over seeds, a star if it is the task's best, and a mark if its run was shortened."""
    score = study.score(encoder, task)
    sd: Any = study.sds.loc[encoder, task]
    if np.isnan(score):
        return Cell("–")
    is_best = len(study.encoders) > 1 and score >= study.means[task].max()
    # Marks stand before the number, so that the digits of a column stay in line.
    departs = overrides(study, encoder=encoder, task=task)
    content: list[object] = [tag("abbr", "★", title="best of the task")] if is_best else []
    content += [tag("abbr", MARK, title=", ".join(departs))] if departs else []
    content += [" ", score_text(score)] if content else [score_text(score)]
    if not np.isnan(sd):
        content += [" ", tag("small", f"± {score_text(sd)}")]
    return Cell(joined(content), score, "best" if is_best else "")


def interval_cell(study: Study, encoder: str, task: str) -> Cell:
    """Noise of the test sample, where it is known."""
    found = study.intervals.get((encoder, task))
    return Cell("–") if found is None else Cell(f"{score_text(found.low)} to {score_text(found.high)}", found.low)


def intervals_note(study: Study, *, encoder: str | None = None, task: str | None = None) -> Markup:
    """What the intervals of an encoder or of a task are, and why some are not there."""
    cells = [(e, t) for e in study.encoders for t in study.tasks if encoder in (None, e) and task in (None, t)]
    hows = sorted({study.intervals[cell].how for cell in cells if cell in study.intervals})
    parts: list[object] = []
    if hows:
        parts.append(
            f"The interval is that of other test examples alone: {', or '.join(hows)}. Another seed or another pretraining "
            "moves a score further, and encoders share their test examples, so that overlapping intervals do not say that "
            "two encoders are alike."
        )
    reasons: dict[str, list[str]] = {}
    for name in dict.fromkeys(t for e, t in cells if (e, t) not in study.intervals and (e, t) in study.rows):
        reasons.setdefault(study.no_interval.get(name, "not known."), []).append(name)
    parts += [f"No interval for {', '.join(tasks)}: {why}" for why, tasks in reasons.items()]
    return joined([tag("p", part, class_="soft") for part in parts])


def by_category(study: Study) -> dict[str, list[str]]:
    """Tasks under their categories, in order."""
    out: dict[str, list[str]] = {}
    for task in study.tasks:
        out.setdefault(str(study.categories[task]), []).append(task)
    return out


def legend(study: Study) -> str:
    """What the numbers of the table are."""
    n_seeds = study.frame.groupby(["encoder", "task"]).size().max()
    parts = ["Higher is better in every row"]
    parts.append(f"mean ± standard deviation over {n_seeds} seeds" if n_seeds > 1 else "one seed a score")
    parts.append(
        "★ and bold: the best score of the end task, which need not be better than the next by more than noise"
    )
    if overrides(study):
        parts.append(f"{MARK}: a run that departs from the protocol ({'; '.join(overrides(study))})")
    if study.chance:
        parts.append("chance: what guessing scores, where it is known")
    return "; ".join(parts) + "."
