"""Bring the records of several results folders together: whole ones are copied, and two that contradict are named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from virb.errors import UsageError, VirbError
from virb.records.record import MAX_BYTES, Record, place_of, read_bytes
from virb.records.store import MAX_PREDICTIONS, ResultStore
from virb.system.files import atomic_write


@dataclass
class Merged:
    """What a merge did: records copied, those that were there already, and sentences about those left out."""

    n_copied: int = 0
    n_there: int = 0
    left_out: list[str] = field(default_factory=list)


def merge(into: str | os.PathLike[str], sources: Sequence[str | os.PathLike[str]]) -> Merged:
    """Copy the whole records of ``sources``, with their predictions, into the folder ``into``.

    A record that is there with the same score from the same things stays; one that differs is never overwritten. What is
    damaged, of an encoder of another content under a used name, or contradicts, is left out and said.

    Raises:
        UsageError: a source is no folder, or is ``into`` itself.
        VirbError: ``into`` cannot be written to.
    """
    target = ResultStore(into)
    for source in sources:
        if not Path(source).is_dir():
            raise UsageError(f"{source} is no folder. Name the results folders whose records are to be copied.")
        if Path(into).exists() and os.path.samefile(source, into):
            raise UsageError(f"{source} is the folder that is merged into; name the others.")
    target.check_writable()
    out = Merged()
    for source in sources:
        store = ResultStore(source)
        scan = store.scan()
        out.left_out += scan.sentences()
        for record in scan.records:
            _copy(record, store, target, out)
    return out


def _copy(record: Record, store: ResultStore, target: ResultStore, out: Merged) -> None:
    place = place_of(record)
    there = target.read(target.root / place)
    if there is not None:
        if _means(there) == _means(record):
            out.n_there += 1
        else:
            out.left_out.append(
                f"{store.root / place}: {target.root / place} is there with another score or from other things; it stays."
            )
        return
    try:
        target.check_identity(
            record["encoder"]["name"], record["encoder"]["sha256"], record["encoder"].get("weights_sha256")
        )
    except VirbError as error:
        out.left_out.append(f"{store.root / place}: {error}")
        return
    content = read_bytes(store.root / place, most=MAX_BYTES)
    predictions = (store.root / place).with_suffix(".npz")
    goal = target.root / place
    goal.parent.mkdir(parents=True, exist_ok=True)
    if predictions.is_file():
        rows = read_bytes(predictions, most=MAX_PREDICTIONS)
        with atomic_write(goal.with_suffix(".npz")) as file:
            file.write(rows)
    with atomic_write(goal) as file:  # last, so that the record is whole or not there
        file.write(content)
    out.n_copied += 1


def _means(record: Record) -> tuple[object, ...]:
    """What makes two records one: the score, and what it was computed from."""
    return record["score"], (record.get("fingerprint") or {}).get("sha256"), record.get("predictions_sha256")
