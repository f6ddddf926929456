"""A record asked again: where its encoder comes from, and the options that it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virb.contracts.options import RunOptions
from virb.errors import UsageError
from virb.records.names import base_probe
from virb.records.record import Record
from virb.records.store import ResultStore


def load(path: Path) -> Record:
    """Return the whole record at ``path``, an absolute one.

    Raises:
        UsageError: there is none.
        RecordError: it is not a whole record at its place.
    """
    try:
        return ResultStore(path.parents[2] if len(path.parents) > 2 else path.parent).load(path)
    except FileNotFoundError:
        raise UsageError(f"There is no record {path}.") from None


def source_of(record: Record, path: Path, encoder: str | None) -> str:
    """Return ``encoder``, else where the record says that its encoder was loaded from.

    Raises:
        UsageError: neither says.
    """
    source = encoder or record["encoder"].get("source")
    if not source:
        raise UsageError(f"{path} does not say where its encoder was loaded from. Name it with --encoder.")
    return str(source)


def options_of(record: Record, **changes: Any) -> RunOptions:
    """Return the options of the record's run, with ``changes``."""
    given: dict[str, Any] = dict(record["overrides"])
    if "skip_corrupt" in given:
        given["skip_corrupt"] = bool(given["skip_corrupt"])
    return RunOptions(probe=base_probe(record["probe"]), **{**given, **changes})
