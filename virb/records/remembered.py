"""What was found of an encoder's records, remembered, so that an evaluation with nothing to do reads none of them again.

The JSON files stay the truth. What is remembered of a record (whose it is, its fingerprint, its row of the table) holds for
one absolute path while size, times, inode and device of the record and of its predictions stay as they were, and for one
state of the code that judges records; files that changed in the last moments are not remembered. It is kept in
``<cache>/records``, a file an encoder's folder, which can be thrown away at any time. ``virb results check`` reads the
files themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from virb.errors import VirbError
from virb.images.digests import SETTLED_NS
from virb.system.cache import code_state
from virb.system.files import atomic_write, read_regular
from virb.system.paths import cache_root

MAGIC = b"virb-remembered/1"
MOST_BYTES = 256 << 20
State = tuple[int, int, int, int, int]  # of a file: size, times, inode and device


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
        found = self._read()
        self._known: dict[str, list[Any]] = found.get("known", {})
        self._whose: dict[str, list[Any]] = found.get("whose", {})
        self._is_new = False

    def known(self, place: str) -> Known | None:
        """Return what is known of the record at ``place`` ("task/gradient-seed0.json"); None where it may be another now."""
        found = self._known.get(place)
        if found is None:
            return None
        record = f"{self.folder}/{place}"
        if found[0] != _listed(state(record)) or found[1] != _listed(state(predictions_of(record))):
            return None
        return Known(*found[2:])

    def keep(self, place: str, known: Known) -> None:
        """Remember a record that was just read and counted; nothing where it or its predictions changed a moment ago."""
        record = f"{self.folder}/{place}"
        states = [_listed(settled(record)), _listed(settled(predictions_of(record)))]
        if None not in states:
            self._known[place] = [*states, *known]
            self._is_new = True

    def whose(self, place: str) -> Mapping[str, Any] | None:
        """Return name, sha256 and weights_sha256 of the encoder that the record at ``place`` is of; None if not known."""
        found = self._whose.get(place)
        if found is None or found[0] != _listed(state(f"{self.folder}/{place}")):
            return None
        whose: Mapping[str, Any] = found[1]
        return whose

    def keep_whose(self, place: str, encoder: Mapping[str, Any]) -> None:
        """Remember whose a record is that was just read."""
        found = _listed(settled(f"{self.folder}/{place}"))
        if found is not None:
            names = ("name", "sha256", "weights_sha256")
            self._whose[place] = [found, {key: encoder[key] for key in names if key in encoder}]
            self._is_new = True

    def save(self) -> None:
        """Write down what is new; of records that are gone nothing is kept."""
        if not self._is_new:
            return
        self._is_new = False
        content = {
            "code": code_state("records", "evaluation"),
            **{
                name: {place: value for place, value in found.items() if os.path.exists(f"{self.folder}/{place}")}
                for name, found in (("known", self._known), ("whose", self._whose))
            },
        }
        # A convenience: without it, records are read again. It need not outlive a power cut: its checksum would tell.
        with contextlib.suppress(VirbError, OSError, TypeError, ValueError):
            body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
            with atomic_write(self._file, is_durable=False) as file:
                file.write(b"\n".join([MAGIC, hashlib.sha256(body).hexdigest().encode(), body]))

    def _read(self) -> dict[str, Any]:
        """Return what the file holds; nothing where it is absent, damaged or of another state of the code."""
        try:
            magic, digest, body = read_regular(self._file, most=MOST_BYTES).split(b"\n", 2)
        except (OSError, ValueError):
            return {}
        if magic != MAGIC or hashlib.sha256(body).hexdigest().encode() != digest:
            return {}
        found: dict[str, Any] = json.loads(body)
        return found if found["code"] == code_state("records", "evaluation") else {}


def state(path: str | os.PathLike[str]) -> State | None:
    """Return by what a change of a file would show; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def settled(path: str | os.PathLike[str]) -> State | None:
    """Return the state of a file that did not change in the last moments, after which a change might leave no trace."""
    found = state(path)
    return None if found is None or time.time_ns() - max(found[1:3]) < SETTLED_NS else found


def predictions_of(record: str) -> str:
    return f"{record.removesuffix('.json')}.npz"


def _listed(found: State | None) -> list[int] | None:
    return None if found is None else list(found)
