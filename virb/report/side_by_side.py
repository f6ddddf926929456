"""Probes or label budgets side by side: each encoder's rank and scores under each of them, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from virb.report.ranking import span
from virb.report.settings import Setting
from virb.report.study import score_text
from virb.report.view import Bar, Cell, Section, Table, heads

SHOWN = 4  # settings whose scores stand beside each other


def side_by_side(settings: Sequence[Setting], links: Mapping[str, str]) -> Table:
    """Encoders x (mean rank and mean score under each setting), the means over the end tasks that all settings have."""
    shown = settings[:SHOWN]
    order = list(dict.fromkeys(encoder for setting in shown for encoder in setting.ranking.order))
    tasks = [task for task in shown[0].study.tasks if all(task in other.study.tasks for other in shown[1:])]
    names = [
        *[f"mean rank, {setting.label}" for setting in shown],
        *[f"{task}, {setting.label}" for task in tasks for setting in shown],
    ]
    rows = []
    for encoder in order:
        row = [Cell(encoder, href=links[encoder]), *[_rank(setting, encoder) for setting in shown]]
        for task in tasks:
            row += [_score(setting, encoder, task) for setting in shown]
        rows.append(row)
    more = f" (the first {SHOWN} of {len(settings)})" if len(settings) > SHOWN else ""
    caption = f"{' and '.join(setting.label for setting in shown)}{more}, on the {len(tasks)} end tasks that all have"
    if any(setting.study.seeds[1] > 1 for setting in shown):
        caption += "; mean ± standard deviation over seeds"
    return Table(caption, heads("encoder", *names), [Section(rows)], is_vertical=len(names) > 8)


def _rank(setting: Setting, encoder: str) -> Cell:
    found = setting.ranking.row(encoder)
    if not found:
        return Cell("–")
    n = len(setting.study.encoders)
    bar = Bar.on(found["low"], found["high"], found["rank"], scale=(1, n)) if "low" in found else None
    said = span(found["low"], found["high"]) if "low" in found else ""
    return Cell(f"{found['mean_rank']:.2f}", found["mean_rank"], bar=bar, spread=said)


def _score(setting: Setting, encoder: str, task: str) -> Cell:
    study = setting.study
    if encoder not in study.means.index or (encoder, task) not in study.rows:
        return Cell("–")
    score = study.score(encoder, task)
    is_best = len(study.encoders) > 1 and score >= study.values(task).max()
    return Cell(score_text(score), score, spread=study.spread_text(encoder, task), is_best=is_best)
