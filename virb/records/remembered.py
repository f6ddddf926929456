"""What was found of an encoder's records, remembered, so that an evaluation with nothing to do reads none of them again.

The JSON files stay the truth. What is remembered of a record (its row of the table) holds for one absolute path, fingerprint
and description while size, times, inode and device of the record and of its predictions stay as they were, and for one state
of the code that judges records. Whose record a task's folder holds is remembered with the folder's state too, so that the folder is
not listed again while nothing came or went. Files and folders that changed in the last moments are not remembered. It is kept
in ``<cache>/records``, a file an encoder's folder, which can be thrown away at any time. ``virb results check`` reads the
files themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from virb.system.cache import code_state
from virb.system.files import FileState, file_state, settled_state
from virb.system.paths import cache_root
from virb.system.recall import recall, remember

Row = dict[str, Any]


class Remembered:
    """What is remembered of the records in one encoder's folder, which are called by task and file name.

    A record counted where it had the fingerprint of its job and said of encoder and task what was to be said; ``told`` is the
    digest of the latter (:class:`virb.evaluation.plan.Planner`), and ``row`` the record's row of the tidy table
    (:func:`virb.records.columns.row`).
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.path.abspath(folder)
        self._file = f"{cache_root()}/records/{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:32]}.json"
        found = recall(self._file, code_state("records", "evaluation"))
        self._kinds: list[tuple[Row, list[str]]] = found.get("kinds", [])  # of rows (_packed)
        self._known: dict[str, tuple[str, int, list[Any]]] = found.get("known", {})  # seal, kind, values
        self._new: dict[str, tuple[str, Row]] = {}
        self._owners: list[dict[str, Any]] = found.get("owners", [])
        self._whose: dict[str, list[Any]] = found.get("whose", {})
        self._seen: dict[str, str | None] = {}  # the states of records that were asked for the first time in this run
        self._is_new = False

    def row(self, place: str, fingerprint: str, told: str) -> Row | None:
        """Return the row of the record at ``place`` ("task/gradient-seed0.json"); None where it may be another now."""
        found = self._new.get(place) or self._known.get(place)
        if found is None:
            return None
        record = f"{self.folder}/{place}"
        now = self._seen.pop(place) if place in self._seen else _text(file_state(record))
        if found[0] != _seal(now, _text(file_state(predictions_of(record))), fingerprint, told):
            return None
        return self._row(place)

    def keep(self, place: str, fingerprint: str, told: str, row: Row) -> None:
        """Remember a record that was just read and counted; nothing where it or its predictions changed a moment ago."""
        record = f"{self.folder}/{place}"
        states = (_text(settled_state(record)), _text(settled_state(predictions_of(record))))
        if None not in states:
            self._new[place] = (_seal(*states, fingerprint, told), row)
            self._is_new = True

    def _row(self, place: str) -> Row:
        if place in self._new:
            return self._new[place][1]
        _, kind, values = self._known[place]
        shared, own = self._kinds[kind]
        return {**shared, **dict(zip(own, values, strict=True))}

    def whose(self, task: str) -> Mapping[str, Any] | None:
        """Return name, sha256 and weights_sha256 of the encoder that a task's records are of, by one of them.

        None if that is not known, or something came to the task's folder, went, or changed.
        """
        found = self._whose.get(task)
        if found is None:
            return None
        state, name, state_of_record, owner = found
        if _text(file_state(f"{self.folder}/{task}")) != state:
            return None
        place = f"{task}/{name}"
        self._seen[place] = now = _text(file_state(f"{self.folder}/{place}"))
        if now != state_of_record:
            return None
        of: Mapping[str, Any] = self._owners[owner]
        return of

    def keep_whose(self, task: str, name: str, folder: FileState | None, encoder: Mapping[str, Any]) -> None:
        """Remember whose the record called ``name`` is, which was just read; ``folder`` is its folder's state before that."""
        states = [_text(folder), _text(settled_state(f"{self.folder}/{task}/{name}"))]
        if None not in states:
            names = ("name", "sha256", "weights_sha256")
            owner = {key: encoder[key] for key in names if key in encoder}
            if owner not in self._owners:
                self._owners.append(owner)
            self._whose[task] = [states[0], name, states[1], self._owners.index(owner)]
            self._is_new = True

    def save(self) -> None:
        """Write down what is new; of records that are gone nothing is kept."""
        if not self._is_new:
            return
        self._is_new = False
        seals = {place: known[0] for place, known in self._known.items()} | {p: new[0] for p, new in self._new.items()}
        seals = {place: seal for place, seal in seals.items() if self._is_there(place)}
        self._kinds, rows = _packed({place: self._row(place) for place in seals})
        self._known = {place: (seal, *rows[place]) for place, seal in seals.items()}
        self._new.clear()
        self._whose = {task: found for task, found in self._whose.items() if self._is_there(f"{task}/{found[1]}")}
        used = sorted({owner for *_, owner in self._whose.values()})
        self._owners = [self._owners[owner] for owner in used]
        self._whose = {task: [*states, used.index(owner)] for task, (*states, owner) in self._whose.items()}
        content = {"kinds": self._kinds, "known": self._known, "owners": self._owners, "whose": self._whose}
        remember(self._file, code_state("records", "evaluation"), content)

    def _is_there(self, place: str) -> bool:
        return os.path.exists(f"{self.folder}/{place}")


def predictions_of(record: str) -> str:
    return f"{record.removesuffix('.json')}.npz"


def _packed(rows: Mapping[str, Row]) -> tuple[list[tuple[Row, list[str]]], dict[str, tuple[int, list[Any]]]]:
    """Return the kinds of rows, by their columns, and of each row its kind and the values in which it differs from others.

    A kind has all its columns in their order, with the value that every row of it has, and the names of the others.
    """
    places: dict[tuple[str, ...], list[str]] = {}
    for place, row in rows.items():
        places.setdefault(tuple(row), []).append(place)
    kinds: list[tuple[Row, list[str]]] = []
    packed: dict[str, tuple[int, list[Any]]] = {}
    for columns, names in places.items():
        own = [column for column in columns if not _are_one([rows[name][column] for name in names])]
        first = rows[names[0]]
        for name in names:
            packed[name] = (len(kinds), [rows[name][column] for column in own])
        kinds.append(({column: None if column in own else first[column] for column in columns}, own))
    return kinds, packed


def _are_one(values: Sequence[Any]) -> bool:
    """Whether all are the same: 1, 1.0 and True are not."""
    return all(value == values[0] and type(value) is type(values[0]) for value in values)


def _seal(record: str | None, predictions: str | None, fingerprint: str, told: str) -> str:
    """Return the digest of all that what is known of a record hangs on."""
    return hashlib.sha256(f"{record},{predictions},{fingerprint},{told}".encode()).hexdigest()[:32]


def _text(found: FileState | None) -> str | None:
    if found is None:
        return None
    return f"{found.size} {found.mtime_ns} {found.ctime_ns} {found.inode} {found.device}"
