"""Scores of several probes or label budgets: each is a study of its own, and the report sets them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from virb.contracts.options import RunOptions
from virb.report.ranking import Ranking, rank
from virb.report.study import Study, as_text, study_of

COLUMNS = ("probe", "labels")


@dataclass(frozen=True)
class Setting:
    """The scores of one probe and one number of labels: what it is called, its study, and its ranking."""

    label: str
    study: Study
    ranking: Ranking


def settings_of(scores: pd.DataFrame, *, chosen: Sequence[str] = ()) -> list[Setting]:
    """Return one setting for each probe and number of labels among the scores, the papers' probe first, then by size."""
    columns = [column for column in COLUMNS if column in scores and scores[column].nunique(dropna=False) > 1]
    if not columns:
        study = study_of(scores, chosen=chosen)
        return [Setting(", ".join(study.said("probe")), study, rank(study))]
    out: list[Setting] = []
    for values, part in scores.groupby(columns, dropna=False, sort=False):
        part.attrs = dict(scores.attrs)
        study = study_of(part.reset_index(drop=True), chosen=chosen)
        out.append(Setting(_label(columns, values), study, rank(study)))
    return sorted(out, key=lambda one: (one.label.partition(",")[0] != RunOptions.probe, -len(one.study.frame)))


def _label(columns: list[str], values: tuple[object, ...]) -> str:
    parts = []
    for column, value in zip(columns, values, strict=True):
        text = as_text(value)
        if column == "probe":
            parts.append(text or "probe not given")
        else:
            parts.append(f"{text} labels" if text else "all labels")
    return ", ".join(parts)
