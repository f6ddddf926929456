"""What records say for people: names, versions, meta. None of it decides whether a job is done."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virb.contracts.analysis import names_in_words
from virb.contracts.roles import check_role
from virb.contracts.task import Task
from virb.errors import UsageError, option
from virb.evaluation.parts import parts_of
from virb.networks.encoder import FrozenEncoder
from virb.records.fingerprint import plain
from virb.records.record import Record, canonical
from virb.system.progress import Progress


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
        if encoder.report is not None:
            found["loaded"] = encoder.report.as_dict()
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

    @staticmethod
    def renewed(record: Record, encoder: Mapping[str, Any], task: Mapping[str, Any]) -> Record | None:
        """Return ``record`` with what is said now in place of what it says; None if it says the same.

        ``encoder`` and ``task`` are what :meth:`encoder` and :meth:`task` return.

        What was declared earlier stays where nothing is declared now, and so does the suite of a task that was named by
        its file.
        """
        old_encoder, old_task = {"source": None, **record["encoder"]}, record["task"]
        # Where it lay is no reason to write a record anew.
        now_encoder = {**old_encoder, **encoder, "source": old_encoder["source"]}
        now_task = {**old_task, **task}
        now_task["suite"] = now_task["suite"] or old_task["suite"]
        if canonical([now_encoder, now_task]) == canonical([old_encoder, old_task]):
            return None
        return {**record, "encoder": now_encoder, "task": now_task}


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
    meta: Mapping[str, Mapping[str, Any]] | str | os.PathLike[str] | None,
    encoders: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Return what is declared of each of ``encoders``, from a mapping by name or a CSV file with the column encoder.

    Encoders of which nothing is said are noted, with the nearest name of which something is.

    Raises:
        ScoresError: the file cannot be read, has no column encoder, or says two things of one encoder.
        UsageError: a role is none that there is, or the mapping holds something else than mappings.
    """
    if meta is None:
        return {}
    if not isinstance(meta, Mapping):
        from virb.scores.read import read_meta  # needs pandas

        table = read_meta(meta).set_index("encoder")
        rows = table.astype(object).iterrows()
        meta = {str(name): {str(key): value for key, value in row.dropna().items()} for name, row in rows}
    elif wrong := next((name for name, said in meta.items() if not isinstance(said, Mapping)), None):
        raise UsageError(f"meta says {meta[wrong]!r} of {wrong}; expected a mapping such as {{'role': 'supervised'}}.")
    found = {name: dict(meta[name]) for name in encoders if name in meta}
    silent = [name for name in encoders if name not in meta]
    if silent and progress is not None:
        near = [
            other for other in meta if other not in encoders and difflib.get_close_matches(silent[0], [other], 1, 0.8)
        ]
        progress.note(
            f"{option('meta')} says nothing of {names_in_words(silent, 6)}"
            + (f"; is {near[0]} meant for {silent[0]}?" if near else ".")
        )
    for name, said in found.items():
        if "role" in said:
            said["role"] = check_role(str(said["role"]), name)
    return found
