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


def parts_of(scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the scores of each probe and number of labels with what it is called, the papers' probe first, then by size; all
    of them, called "", where they are of one."""
    columns = [column for column in COLUMNS if column in scores and scores[column].nunique(dropna=False) > 1]
    if not columns:
        return [("", scores)]
    out: list[tuple[str, pd.DataFrame]] = []
    for values, part in scores.groupby(columns, dropna=False, sort=False):
        part.attrs = dict(scores.attrs)
        out.append((_label(columns, values), part.reset_index(drop=True)))
    return sorted(out, key=lambda one: (one[0].partition(",")[0] != RunOptions.probe, -len(one[1])))


def settings_of(parts: Sequence[tuple[str, pd.DataFrame]], *, chosen: Sequence[str] = ()) -> list[Setting]:
    """Return one setting for each of the parts (:func:`parts_of`)."""
    studies = [(label, study_of(part, chosen=chosen)) for label, part in parts]
    return [Setting(label or ", ".join(study.said("probe")), study, rank(study)) for label, study in studies]


def _label(columns: list[str], values: tuple[object, ...]) -> str:
    parts = []
    for column, value in zip(columns, values, strict=True):
        text = as_text(value)
        if column == "probe":
            parts.append(text or "probe not given")
        else:
            parts.append(f"{text} labels" if text else "all labels")
    return ", ".join(parts)
