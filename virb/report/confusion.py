"""What encoders take for what: the pairs of classes that are mistaken most, from the predictions beside the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from virb.errors import ScoresError
from virb.records.predictions import class_names, predictions_of
from virb.report.leaderboard import SHADES
from virb.report.study import Study
from virb.report.view import Cell, Section, Table

SHOWN_CLASSES = 12
SHOWN_ENCODERS = 2
SHOWN_PAIRS = 8


def confusions(study: Study, task: str, links: Mapping[str, str]) -> dict[str, Any] | None:
    """Tables of the most confused classes for the best encoders, and the pairs that all encoders confuse.

    None where the predictions are no classes, or are not there.
    """
    results = study.frame.attrs.get("results")
    if not results:
        return None
    counts: dict[str, np.ndarray] = {}
    best = study.best_first(task)
    for encoder in dict.fromkeys([*best, *study.encoders]):
        found = _matrix(results, study.rows.get((encoder, task), []), task)
        if found is not None:
            counts[str(encoder)] = found
    if not counts:
        return None
    size = max(len(found) for found in counts.values())
    if size < 3:
        return None
    padded = {name: np.pad(found, (0, size - len(found))) for name, found in counts.items()}
    names = class_names(task, size)
    whole = np.sum(list(padded.values()), axis=0)
    chosen = _most_confused(whole)
    tables = [_pairs(whole, names, len(padded))]
    tables += [
        _table(found[np.ix_(chosen, chosen)], [names[k] for k in chosen], name)
        for name, found in list(padded.items())[:SHOWN_ENCODERS]
    ]
    which = f"the {len(chosen)} of {size} classes that are confused most" if len(chosen) < size else "every class"
    note = (
        f"From the predictions of {len(padded)} encoder{'s' * (len(padded) > 1)} for the same test examples (of each the "
        f"first seed). The tables of single encoders show {which}, in shares of the class in the row."
    )
    return {"note": note, "tables": tables}


def _matrix(results: str, rows: Sequence[Mapping[str, Any]], task: str) -> np.ndarray | None:
    """Counts, classes x predicted classes; None where the predictions are not of single classes."""
    try:
        arrays = next(iter(predictions_of(results, rows, task).values()), {})
    except ScoresError:
        return None
    target, prediction = arrays.get("target"), arrays.get("prediction")
    if target is None or prediction is None or target.ndim != 1 or prediction.ndim != 1:
        return None
    if not (np.issubdtype(target.dtype, np.integer) and np.issubdtype(prediction.dtype, np.integer)) or not len(target):
        return None
    if min(target.min(), prediction.min()) < 0:
        return None
    size = int(max(target.max(), prediction.max())) + 1
    pairs = target.astype(np.int64) * size + prediction.astype(np.int64)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def _most_confused(counts: np.ndarray) -> list[int]:
    off = counts - np.diag(np.diag(counts))
    wrong = off.sum(axis=0) + off.sum(axis=1)
    return sorted(np.argsort(-wrong, kind="stable")[:SHOWN_CLASSES].tolist())


def _pairs(counts: np.ndarray, names: list[str], n_encoders: int) -> Table:
    """The pairs of classes that are taken for each other most often."""
    size = counts.sum(axis=1)
    off = (counts - np.diag(np.diag(counts))) / np.maximum(size, 1)[:, None]
    order = np.argsort(-off, axis=None, kind="stable")[:SHOWN_PAIRS]
    rows = []
    for i, j in (np.unravel_index(int(k), off.shape) for k in order):
        if off[i, j] > 0:
            rows.append([Cell(names[i]), Cell(names[j]), Cell(f"{off[i, j]:.0%}", float(off[i, j]))])
    who = f"over all {n_encoders} encoders" if n_encoders > 1 else "by the encoder"
    return Table(f"Mistaken most often, {who}", [Cell("class"), Cell("taken for"), Cell("how often")], [Section(rows)])


def _table(counts: np.ndarray, names: list[str], encoder: str) -> Table:
    shares = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    rows = [
        [
            Cell(name),
            *[
                Cell(f"{share * 100:.0f}", float(share), shade=round(float(share) * (SHADES - 1)), is_best=i == j)
                for j, share in enumerate(shares[i])
            ],
        ]
        for i, name in enumerate(names)
    ]
    return Table(f"{encoder}: percent of the class (row) called each class (column)", [Cell("class"), *map(Cell, names)],
                 [Section(rows)], is_vertical=True)  # fmt: skip
