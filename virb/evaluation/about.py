"""What records say for people: names, versions, meta. None of it decides whether a job is done."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virb.contracts.task import Task
from virb.errors import RecordError, UsageError, option
from virb.evaluation.parts import parts_of
from virb.networks.encoder import FrozenEncoder
from virb.records.fingerprint import plain
from virb.records.record import MAX_BYTES, Record, canonical, read_bytes


@dataclass(frozen=True)
class About:
    """What is known about encoders and tasks beside what they are.

    Attributes:
        suites: of each task, by name.
        declared: by encoder name, what the user says of it (``--meta FILE.csv``); it goes before the encoder's own meta.
    """

    suites: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def encoder(self, encoder: FrozenEncoder) -> dict[str, Any]:
        """Return a record's part about the encoder."""
        found = {
            "name": encoder.name,
            "sha256": encoder.identity,
            "weights_sha256": encoder.sha256,
            "arch": encoder.arch,
            "preprocess": plain(encoder.preprocess.as_dict()),
            "source": encoder.source,
            "meta": plain_meta(encoder.meta),
        }
        if encoder.name in self.declared:
            found["declared"] = plain_meta(self.declared[encoder.name])
        return found

    def task(self, task: Task) -> dict[str, Any]:
        """Return a record's part about the task."""
        parts = parts_of(task)
        return {
            "name": task.name,
            "version": task.version,
            "category": task.category.value,
            "metric": task.metric,
            "unit": parts.unit,
            "better": parts.metric.better,
            "suite": self.suites.get(task.name, ""),
            "head": task.head,
        }

    def renewed(self, record: Record, encoder: FrozenEncoder, task: Task) -> Record | None:
        """Return ``record`` with what is said now in place of what it says; None if it says the same.

        What was declared earlier stays where nothing is declared now, and so does the suite of a task that was named by
        its file.
        """
        now_encoder, now_task = self.encoder(encoder), self.task(task)
        now_encoder = {**record["encoder"], **now_encoder}
        for key in ("source",):  # where it lay is no reason to write a record anew
            now_encoder[key] = record["encoder"].get(key)
        now_task["suite"] = now_task["suite"] or record["task"]["suite"]
        now = {**record, "encoder": now_encoder, "task": {**record["task"], **now_task}}
        old = {**record, "encoder": {"source": None, **record["encoder"]}}
        return None if canonical(now) == canonical(old) else now


def plain_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return meta as a record can hold it: a number that is not finite is missing."""
    found = plain({str(key): _finite(value) for key, value in meta.items()})
    assert isinstance(found, dict)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of numpy's or torch's
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_meta(
    meta: Mapping[str, Mapping[str, Any]] | str | os.PathLike[str] | None, encoders: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return what is declared of each of ``encoders``, from a mapping by name or a CSV file with the column encoder.

    Raises:
        UsageError: the file cannot be read, has no column encoder, or says two things of one encoder.
    """
    if meta is None:
        return {}
    if not isinstance(meta, Mapping):
        meta = _read_meta(Path(meta))
    return {name: dict(meta[name]) for name in encoders if name in meta}


def _read_meta(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = read_bytes(path, most=MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{option('meta')} {path}: there is no such file.") from None
    except (RecordError, UnicodeDecodeError) as error:
        raise UsageError(f"{option('meta')} {path} cannot be read as UTF-8 text ({error}).") from None
    rows = list(csv.reader(io.StringIO(content, newline="")))
    header = [name.strip() for name in rows[0]] if rows else []
    if header.count("encoder") != 1 or len(set(header)) != len(header):
        raise UsageError(
            f"{option('meta')} {path} needs one column encoder and no column twice; found {', '.join(header)}."
        )
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise UsageError(f"{option('meta')} {path}: line {number} has {len(row)} cells; expected {len(header)}.")
        said = {key: _value(cell.strip()) for key, cell in zip(header, row, strict=True) if cell.strip()}
        name = str(row[header.index("encoder")].strip())
        if name in found:
            raise UsageError(f"{option('meta')} {path}: line {number} names {name!r} a second time.")
        said.pop("encoder", None)
        found[name] = said
    return found


def _value(cell: str) -> Any:
    """A number where a cell is one, else its text."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
