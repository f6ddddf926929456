"""What was found of an encoder's records, remembered, so that an evaluation with nothing to do reads none of them again.

The JSON files stay the truth. What is remembered of a record (whose it is, its fingerprint, its row of the table) holds for
one absolute path while size, times, inode and device of the record and of its predictions stay as they were, and for one
state of the code that judges records; files that changed in the last moments are not remembered. It is kept in
``<cache>/records``, a file an encoder's folder, which can be thrown away at any time. ``virb results check`` reads the
files themselves.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
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

    def __init__(self, folder: Path) -> None:
        self.folder = os.path.abspath(folder)
        self._file = cache_root() / "records" / f"{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:32]}.json"
        found = recall(self._file, code_state("records", "evaluation"))
        self._known: dict[str, list[Any]] = found.get("known", {})
        self._whose: dict[str, list[Any]] = found.get("whose", {})
        self._is_new = False

    def known(self, place: str) -> Known | None:
        """Return what is known of the record at ``place`` ("task/gradient-seed0.json"); None where it may be another now."""
        found = self._known.get(place)
        if found is None:
            return None
        record = f"{self.folder}/{place}"
        if found[0] != _listed(file_state(record)) or found[1] != _listed(file_state(predictions_of(record))):
            return None
        return Known(*found[2:])

    def keep(self, place: str, known: Known) -> None:
        """Remember a record that was just read and counted; nothing where it or its predictions changed a moment ago."""
        record = f"{self.folder}/{place}"
        states = [_listed(settled_state(record)), _listed(settled_state(predictions_of(record)))]
        if None not in states:
            self._known[place] = [*states, *known]
            self._is_new = True

    def whose(self, place: str) -> Mapping[str, Any] | None:
        """Return name, sha256 and weights_sha256 of the encoder that the record at ``place`` is of; None if not known."""
        found = self._whose.get(place)
        if found is None or found[0] != _listed(file_state(f"{self.folder}/{place}")):
            return None
        whose: Mapping[str, Any] = found[1]
        return whose

    def keep_whose(self, place: str, encoder: Mapping[str, Any]) -> None:
        """Remember whose a record is that was just read."""
        found = _listed(settled_state(f"{self.folder}/{place}"))
        if found is not None:
            names = ("name", "sha256", "weights_sha256")
            self._whose[place] = [found, {key: encoder[key] for key in names if key in encoder}]
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
        remember(self._file, code_state("records", "evaluation"), kept)


def predictions_of(record: str) -> str:
    return f"{record.removesuffix('.json')}.npz"


def _listed(found: FileState | None) -> list[int] | None:
    return None if found is None else list(found)
