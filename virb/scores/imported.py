"""Scores as an importer reads them, made into one tidy table: a metric a task, and nothing compared that is not alike.

Other programs write several metrics of a score, runs of several settings under one name, and seldom say which counts. The
importer knows the layout; what follows from it is the same for all and is done here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from virb import registry
from virb.contracts.analysis import names_in_words
from virb.contracts.importer import READS, Importer
from virb.errors import ScoresError, UsageError, VirbError
from virb.system.documents import read_text

_MOST = 256 << 20  # bytes; a larger file is none that these programs write
Row = dict[str, Any]


def read_imported(source: str, *, metrics: Sequence[str] = ()) -> pd.DataFrame | None:
    """Read NAME:PATH by the importer called NAME; None where there is no such importer.

    Args:
        metrics: "METRIC", or "TASK=METRIC", to take in place of the source's own where it has several.

    Raises:
        ScoresError: the path is not there, or the importer fails on it.
        UsageError: no score has such a metric.
    """
    name, colon, place = source.partition(":")
    if not colon or name not in registry.names("importers"):
        return None
    importer: Importer = registry.load("importers", name)
    path = Path(place)
    is_there = {"folder": path.is_dir(), "file": path.is_file(), "either": path.exists()}
    if not is_there[importer.reads]:
        raise ScoresError(f"{source}: the importer {name} reads {READS[importer.reads]}, and {place!r} is none.")
    rows: list[Row] = []
    notes: list[str] = []
    try:
        for found in importer.rows(path):
            if isinstance(found, str):
                notes.append(found)
            else:
                rows.append(dict(found))
    except VirbError as error:
        raise ScoresError(f"{source} cannot be read by the importer {name}: {error}") from error
    except Exception as error:
        raise ScoresError(f"{source} cannot be read by the importer {name}: {type(error).__name__}: {error}") from error
    if not rows:
        said = f" ({'; '.join(notes)})" if notes else ""
        raise ScoresError(f"{source}: the importer {name} finds no scores there{said}.")
    _tell_apart(rows, notes)
    rows = _one_metric(rows, metrics, notes)
    frame = pd.DataFrame(rows).drop(columns=["group", "is_main"], errors="ignore")
    frame.attrs["notes"] = notes
    return frame


def _tell_apart(rows: list[Row], notes: list[str]) -> None:
    """Give scores of one task that are of several groups tasks of their own, named by what differs."""
    groups: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        for key, value in (row.get("group") or {}).items():
            groups.setdefault(str(row["task"]), {}).setdefault(key, set()).add(_word(value))
    split: Counter[str] = Counter()
    for row in rows:
        task = str(row["task"])
        differ = [key for key, values in groups.get(task, {}).items() if len(values) > 1]
        if differ:
            said = ", ".join(f"{key} {_word((row.get('group') or {}).get(key))}" for key in differ)
            row["task"] = f"{task} [{said}]"
            split[task] = len(differ)
    for task in split:
        words = names_in_words([key for key, values in groups[task].items() if len(values) > 1])
        notes.append(f"scores on {task} differ in {words} and are not compared: a task for each")


def _word(value: Any) -> str:
    return "none" if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def _one_metric(rows: list[Row], metrics: Sequence[str], notes: list[str]) -> list[Row]:
    """Rows of one metric a task: the one asked for, else the one that is the main one of most cells."""
    asked: dict[str, str] = {}
    tasks = {str(row["task"]) for row in rows}
    have = {(str(row["task"]), row.get("metric")) for row in rows}
    for text in metrics:
        task, equals, metric = text.rpartition("=")
        if equals and task not in tasks:
            raise UsageError(
                f"--metric {text}: {task!r} is no task of the scores; they have {names_in_words(sorted(tasks))}."
            )
        chosen = [name for name in ([task] if equals else sorted(tasks)) if (name, metric) in have]
        if not chosen:
            known = sorted({str(m) for name, m in have if m is not None and (not equals or name == task)})
            raise UsageError(f"--metric {text}: no score has this metric; there are {names_in_words(known, 12)}.")
        asked |= dict.fromkeys(chosen, metric)
    mains: dict[str, dict[str, dict[Any, None]]] = {}
    for row in rows:
        if row.get("is_main", True):
            mains.setdefault(str(row["task"]), {}).setdefault(str(row["encoder"]), {})[row.get("metric")] = None
    votes = {task: Counter(metric for found in by.values() for metric in found) for task, by in mains.items()}
    of = {task: count.most_common(1)[0][0] for task, count in votes.items()} | asked
    kept = [row for row in rows if str(row["task"]) in of and row.get("metric") == of[str(row["task"])]]
    left = {(str(row["encoder"]), str(row["task"])) for row in rows} - {
        (str(r["encoder"]), str(r["task"])) for r in kept
    }
    if left:
        cells = [
            f"{encoder} on {task} (no {of[task]})" if task in of else f"{encoder} on {task}"
            for encoder, task in sorted(left)
        ]
        notes.append(f"left out, the task's metric being absent: {names_in_words(cells)}")
    own = [
        f"{task} ({of[task]} of {votes[task][of[task]]}, otherwise of {len(by) - votes[task][of[task]]}; {of[task]} is taken)"
        for task, by in mains.items()
        if task not in asked and any(of[task] not in found for found in by.values())
    ]
    if own:
        notes.append(f"the source's main score is not of one metric on {names_in_words(own)}")
    return kept


def load_json(path: Path) -> Any:
    """What a JSON file says, NaN and Infinity included, as other programs write them; such numbers are None.

    Raises:
        ScoresError: it is no JSON.
    """
    try:
        return json.loads(read_text(path, most=_MOST), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise ScoresError(f"{path} is not valid JSON: {error}.") from error


def number(value: Any) -> float | None:
    """``value`` as a float; None where it is no number (a truth value, a text such as N/A)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those of ``metrics`` that are numbers."""
    return {str(key): found for key, value in metrics.items() if (found := number(value)) is not None}
