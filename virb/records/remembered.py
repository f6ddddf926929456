"""What was found of an encoder's records, remembered, so that an evaluation with nothing to do reads none of them again.

The JSON files stay the truth. What is remembered of a record (its fingerprint, its row of the table) holds for one absolute
path while size, times, inode and device of the record and of its predictions stay as they were, and for one state of the
code that judges records. Whose record a task's folder holds is remembered with the folder's state too, so that the folder is
not listed again while nothing came or went. Files and folders that changed in the last moments are not remembered. It is kept
in ``<cache>/records``, a file an encoder's folder, which can be thrown away at any time. ``virb results check`` reads the
files themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from virb.system.cache import code_state
from virb.system.files import FileState, file_state, settled_state
from virb.system.paths import cache_root
from virb.system.recall import recall, remember


class Known(NamedTuple):
    """What is known of a record that counted: one of this fingerprint, which says of encoder and task what was to be said.

    Attributes:
        told: the digest of what was to be said (:func:`virb.evaluation.plan.Planner`).
        row: of the tidy table (:func:`virb.records.columns.row`).
    """

    fingerprint: str
    told: str
    row: dict[str, Any]


class Remembered:
    """What is remembered of the records in one encoder's folder, which are called by task and file name."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.abspath(folder)
        self._file = cache_root() / "records" / f"{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:32]}.json"
        found = recall(self._file, code_state("records", "evaluation"))
        self._columns: list[list[str]] = found.get(
            "columns", []
        )  # of the rows, each of which says which of them it has
        self._known: dict[str, list[Any]] = found.get("known", {})
        self._whose: dict[str, list[Any]] = found.get("whose", {})
        self._seen: dict[str, str | None] = {}  # the states of records that were asked for the first time in this run
        self._is_new = False

    def known(self, place: str) -> Known | None:
        """Return what is known of the record at ``place`` ("task/gradient-seed0.json"); None where it may be another now."""
        found = self._known.get(place)
        if found is None:
            return None
        state, state_of_predictions, fingerprint, told, columns, values = found
        record = f"{self.folder}/{place}"
        now = self._seen.pop(place) if place in self._seen else _text(file_state(record))
        if now != state or _text(file_state(predictions_of(record))) != state_of_predictions:
            return None
        return Known(fingerprint, told, dict(zip(self._columns[columns], values, strict=True)))

    def keep(self, place: str, known: Known) -> None:
        """Remember a record that was just read and counted; nothing where it or its predictions changed a moment ago."""
        record = f"{self.folder}/{place}"
        states = [_text(settled_state(record)), _text(settled_state(predictions_of(record)))]
        if None in states:
            return
        columns = list(known.row)
        if columns not in self._columns:
            self._columns.append(columns)
        which = self._columns.index(columns)
        self._known[place] = [*states, known.fingerprint, known.told, which, list(known.row.values())]
        self._is_new = True

    def whose(self, task: str) -> Mapping[str, Any] | None:
        """Return name, sha256 and weights_sha256 of the encoder that a task's records are of, by one of them.

        None if that is not known, or something came to the task's folder, went, or changed.
        """
        found = self._whose.get(task)
        if found is None:
            return None
        state, name, state_of_record, whose = found
        if _text(file_state(f"{self.folder}/{task}")) != state:
            return None
        place = f"{task}/{name}"
        self._seen[place] = now = _text(file_state(f"{self.folder}/{place}"))
        if now != state_of_record:
            return None
        of: Mapping[str, Any] = whose
        return of

    def keep_whose(self, task: str, name: str, folder: FileState | None, encoder: Mapping[str, Any]) -> None:
        """Remember whose the record called ``name`` is, which was just read; ``folder`` is its folder's state before that."""
        states = [_text(folder), _text(settled_state(f"{self.folder}/{task}/{name}"))]
        if None not in states:
            names = ("name", "sha256", "weights_sha256")
            self._whose[task] = [states[0], name, states[1], {key: encoder[key] for key in names if key in encoder}]
            self._is_new = True

    def save(self) -> None:
        """Write down what is new; of records that are gone nothing is kept."""
        if not self._is_new:
            return
        self._is_new = False
        kept = {
            name: {place: value for place, value in found.items() if os.path.exists(f"{self.folder}/{place}")}
            for name, found in (("known", self._known), ("whose", self._whose))
        }
        remember(self._file, code_state("records", "evaluation"), {"columns": self._columns, **kept})


def predictions_of(record: str) -> str:
    return f"{record.removesuffix('.json')}.npz"


def _text(found: FileState | None) -> str | None:
    if found is None:
        return None
    return f"{found.size} {found.mtime_ns} {found.ctime_ns} {found.inode} {found.device}"
