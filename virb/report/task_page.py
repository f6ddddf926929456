"""The page of one end task: the encoders on it, what they mistake, and how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from virb.errors import VirbError
from virb.records.names import base_probe
from virb.report.confusion import confusions
from virb.report.curves import curves, losses
from virb.report.encoder_page import interval_cell
from virb.report.leaderboard import intervals_note, legend, score_cell
from virb.report.pages import render
from virb.report.provenance import MINI, is_mini, pairs, plain, versions_text
from virb.report.settings import Setting
from virb.report.study import Study, as_text, score_text
from virb.report.view import Cell, Fact, Section, Table, facts, heads

SHOWN_CLASSES = 50
MANY = 8  # encoders, beyond which their names stand upright


def task_page(
    settings: Sequence[Setting],
    task: str,
    *,
    encoder_links: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
    files: Mapping[str, str],
    examples: Mapping[str, Any] | None = None,
) -> bytes:
    """The whole page of ``task``; ``tables`` are those of :func:`tables_of`, ``files`` their CSVs by the same names."""
    links = {name: Cell(file, href=file) for name, file in files.items()}
    by_class = tables.get("per-class")
    with_it = [setting for setting in settings if task in setting.study.means.columns]
    study = with_it[0].study
    summary = _declared(study, task)
    return render(
        "task.html",
        root="../",
        title=task,
        summary=f"{summary[0].upper()}{summary[1:]}." if summary else "",
        mini=MINI if is_mini(study, task) else "",
        settings=[
            {
                "label": setting.label,
                "ranked": _ranked(setting.study, task, encoder_links),
                "legend": legend(setting.study),
                "notes": intervals_note(setting.study, task=task),
            }
            for setting in with_it
        ],
        examples=examples,
        confusions=confusions(study, task, encoder_links),
        by_class=None if by_class is None else _by_class(by_class, encoder_links),
        per_class_link=links.get("per-class"),
        curves=curves(study, task, tables["training"], encoder_links) if "training" in tables else None,
        curves_link=links.get("training"),
        about=_facts(study, task),
    )


def tables_of(study: Study, task: str) -> dict[str, pd.DataFrame]:
    """The tables of a task that its records give, at full precision, by name: "per-class" (indexed by class), "training"."""
    by_class, by_epoch = per_class(study, task), losses(study, task)
    out = {} if by_class is None else {"per-class": by_class}
    return out if by_epoch.empty else {**out, "training": by_epoch}


def per_class(study: Study, task: str) -> pd.DataFrame | None:
    """Scores by class (classes x encoders, means over seeds, NaN for a class that is absent); None without any."""
    columns: dict[str, dict[str, float]] = {}
    for encoder in study.encoders:
        records = study.records_of(encoder=encoder, task=task)
        found = [record["per_class"] for record in records if record.get("per_class")]
        if found:
            names = dict.fromkeys(name for scores in found for name in scores)
            columns[encoder] = {name: _mean([scores.get(name) for scores in found]) for name in names}
    return pd.DataFrame(columns, dtype=float).rename_axis("class") if columns else None


def _mean(scores: Sequence[float | None]) -> float:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else np.nan


def _declared(study: Study, task: str) -> str:
    """The task's own summary, where the task that is known here under this name has the metric of the scores."""
    from virb import registry

    try:
        declared = registry.load("tasks", task)
    except VirbError:
        return ""
    return str(declared.summary) if study.said("metric", task=task) == [declared.metric] else ""


def _facts(study: Study, task: str) -> list[Fact]:
    records = study.records_of(task=task)
    about = records[0]["task"] if records else {}
    data = records[0].get("data") if records else None
    chance = study.chance.get(task)
    seconds = _seconds(records)
    return facts(
        [
            ("category", str(study.categories[task])),
            ("suite", ", ".join(study.said("suite", task=task))),
            ("metric", ", ".join(study.said("metric", task=task))),
            ("head", plain(about.get("head")) if _has_own_head(study, task) else None),
            ("training examples", ", ".join(study.said("n_train", task=task))),
            ("test examples", ", ".join(study.said("n_test", task=task))),
            ("chance", None if chance is None else score_text(chance)),
            ("probe", ", ".join(study.said("probe", task=task))),
            ("protocol", _protocol(records)),
            ("departs from it by", "; ".join(study.said("overrides", task=task))),
            ("version of the task", plain(about.get("version"))),
            ("revision of the data", pairs(data)),
            ("made with", versions_text(records)),
            ("device", ", ".join(sorted({str(record["device"]) for record in records if record.get("device")}))),
            ("seconds a record, mean", "; ".join(f"{name} {value:.1f}" for name, value in seconds.items())),
        ]
    )


def _has_own_head(study: Study, task: str) -> bool:
    """Whether the scores are of the task's own head: other probes than the paper's have another, or none."""
    return {base_probe(name) for name in study.said("probe", task=task)} <= {"gradient"}


def _protocol(records: list[dict[str, Any]]) -> str:
    """What all records say of how they were made, and the names of what differs between them."""
    found = [record["protocol"] for record in records if isinstance(record.get("protocol"), Mapping)]
    names = list(dict.fromkeys(name for protocol in found for name in protocol))
    common = {name: found[0].get(name) for name in names if all(p.get(name) == found[0].get(name) for p in found)}
    differing = [name for name in names if name not in common]
    said = pairs(common)
    return f"{said}; differing by record: {', '.join(differing)}" if differing else said


def _seconds(records: list[dict[str, Any]]) -> dict[str, float]:
    """Mean seconds of each phase over the records that name it."""
    found: dict[str, list[float]] = {}
    for record in records:
        said = record.get("seconds")
        for name, value in said.items() if isinstance(said, Mapping) else ():
            if isinstance(value, (int, float)):
                found.setdefault(str(name), []).append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _ranked(study: Study, task: str, links: Mapping[str, str]) -> Table:
    has_seconds = bool(_seconds(study.records_of(task=task)))
    rows = []
    for name in study.ranks[task].sort_values(kind="stable").index:
        encoder = str(name)
        rank = study.rank(encoder, task)
        n_seeds = study.n_seeds(encoder, task)
        if not n_seeds:
            continue
        row = [
            Cell(encoder, href=links[encoder]),
            Cell(f"{rank:g}", rank),
            score_cell(study, encoder, task),
            interval_cell(study, encoder, task),
            Cell(as_text(n_seeds), n_seeds),
        ]
        if has_seconds:
            seconds = sum(_seconds(study.records_of(encoder=encoder, task=task)).values())
            row.append(Cell(f"{seconds:.1f}", seconds))
        rows.append(row)
    columns = heads("encoder", "rank", "score", "95% interval", "seeds", *(["seconds a record"] if has_seconds else []))
    return Table(f"Encoders on {task}, best first", columns, [Section(rows)])


def _by_class(scores: pd.DataFrame, links: Mapping[str, str]) -> Table:
    """Every class where they are few; else those on which the encoders differ most. The CSV has all."""
    shown, which = scores, "every class"
    if len(scores) > SHOWN_CLASSES:
        spread = scores.max(axis=1) - scores.min(axis=1) if scores.shape[1] > 1 else -scores.iloc[:, 0]
        shown = scores.loc[spread.sort_values(ascending=False, kind="stable").index[:SHOWN_CLASSES]]
        most = "on which the encoders differ most" if scores.shape[1] > 1 else "with the lowest scores"
        which = f"the {SHOWN_CLASSES} classes of {len(scores)} {most}"
    rows = []
    for name, row in shown.iterrows():
        best, low = row.max(), row.min()
        cells = [
            Cell("–")
            if np.isnan(value)
            else Cell(
                score_text(value),
                float(value),
                is_best=len(row) > 1 and value >= best,
                shade=round((value - low) / (best - low) * 8) if best > low else None,
            )
            for value in row.to_numpy(float)
        ]
        rows.append([Cell(str(name)), *cells])
    columns = [Cell("class"), *[Cell(str(encoder), href=links[str(encoder)]) for encoder in shown.columns]]
    caption = f"Scores of {which} (means over seeds; bold: best; colour: inside the class)"
    return Table(caption, columns, [Section(rows)], is_vertical=scores.shape[1] > MANY)
