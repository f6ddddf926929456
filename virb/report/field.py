"""An encoder against the field: where it stands above and below the median of the others, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from virb.report.leaderboard import by_category
from virb.report.study import Study, score_text
from virb.report.view import Bar, Cell, Section, Table, heads

MIN_OTHERS = 2  # the median of fewer is one encoder
NAMED = 3


@dataclass(frozen=True)
class Difference:
    """What an encoder's score is above the median of the others, in the scores' unit and in their quartile spreads."""

    task: str
    median: float
    value: float
    low: float  # NaN where the score has no interval
    high: float
    spreads: float

    @property
    def is_sure(self) -> bool:
        return bool(self.low > 0 or self.high < 0)


def differences(study: Study, encoder: str) -> list[Difference]:
    """One for each task that the encoder and at least two others have; the median counts as known."""
    out = []
    for task, score in study.scores(encoder).items():
        if len(study.values(task)) <= MIN_OTHERS:
            continue
        median, spread = study.others(encoder, task)
        found = study.intervals.get((encoder, task))
        low, high = (found.low - median, found.high - median) if found else (np.nan, np.nan)
        out.append(
            Difference(task, median, score - median, low, high, (score - median) / spread if spread > 0 else 0.0)
        )
    return out


def field_sentences(study: Study, encoder: str) -> list[str]:
    """Where it is strongest and weakest, among the differences that its own test sample does not explain."""
    found = sorted((one for one in differences(study, encoder) if one.is_sure), key=lambda one: -one.spreads)
    strong = [one for one in found if one.value > 0][:NAMED]
    weak = [one for one in reversed(found) if one.value < 0][:NAMED]
    out = []
    for name, some in (("Strongest against the field", strong), ("Weakest against the field", weak)):
        if some:
            out.append(f"{name}: {'; '.join(f'{one.task} {_signed(one)}' for one in some)}.")
    return out


def _signed(one: Difference) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def against_the_field(study: Study, encoder: str, links: Mapping[str, str]) -> Table | None:
    """The differences by category; None where there is no field."""
    by_task = {one.task: one for one in differences(study, encoder)}
    if not by_task:
        return None
    sections = []
    for category, tasks in by_category(study).items():
        rows = [_row(study, encoder, by_task[task], links) for task in tasks if task in by_task]
        if rows:
            sections.append(Section(rows, category))
    columns = heads("end task", "against the median", "95% interval", "median of the others", "its place")
    return Table(f"{encoder} against the median of the others", columns, sections)


def _row(study: Study, encoder: str, one: Difference, links: Mapping[str, str]) -> list[Cell]:
    score = study.score(encoder, one.task)
    found = study.intervals.get((encoder, one.task))
    low, high = (found.low, found.high) if found else (score, score)
    bar = Bar.on(low, high, score, scale=study.scale(one.task), ticks=[one.median])
    interval = f"{one.low:+.3f} to {one.high:+.3f}" if found else "–"
    verdict = "not told apart" if found and not one.is_sure else ("above" if one.value > 0 else "below")
    return [
        Cell(one.task, href=links[one.task]),
        Cell(f"{one.value:+.3f}", one.value, is_best=bool(found) and one.is_sure and one.value > 0),
        Cell(interval, one.low if found else None),
        Cell(score_text(one.median), one.median),
        Cell(verdict, bar=bar),
    ]
