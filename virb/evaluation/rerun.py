"""Compute a record again, elsewhere, and say whether the same came out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.errors import RecordError, UsageError, VirbError
from virb.records.fingerprint import differences
from virb.records.store import ResultStore, base_probe
from virb.system.progress import Progress


@dataclass(frozen=True)
class Rerun:
    """What came of a record: its score then and now, whether every prediction is the same, and what else differs."""

    before: float
    now: float
    is_same: bool
    differs: list[str]

    @property
    def line(self) -> str:
        if self.is_same:
            return f"the same: {self.now:.6g}, and every prediction"
        said = f"{self.before:.6g} then, {self.now:.6g} now ({self.now - self.before:+.2g})"
        return said if self.before != self.now else f"{self.now:.6g} again, with other predictions of single examples"


def rerun(
    path: Path,
    *,
    context: DataContext,
    encoder: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Rerun:
    """Compute the job of a record again into a folder that is thrown away; the record is left as it is.

    Args:
        path: ``<results>/<encoder>/<task>/<probe>-seed<k>.json``.
        encoder: what to evaluate, where the record does not say where its encoder was loaded from.

    Raises:
        UsageError: there is no such record, or it does not say what to run.
        VirbError: it cannot be computed here.
    """
    from virb.evaluation.run import run

    path = Path(path).absolute()
    try:
        record = ResultStore(path.parents[2]).load(path)
    except FileNotFoundError:
        raise UsageError(f"There is no record {path}.") from None
    except RecordError as error:
        raise UsageError(str(error)) from error
    source = encoder or record["encoder"].get("source")
    if not source:
        raise UsageError(f"{path} does not say where its encoder was loaded from. Name it with --encoder.")
    given: dict[str, Any] = dict(record["overrides"])
    if "skip_corrupt" in given:
        given["skip_corrupt"] = bool(given["skip_corrupt"])
    options = RunOptions(probe=base_probe(record["probe"]), seeds=record["seed"] + 1, device=device, **given)
    with tempfile.TemporaryDirectory(prefix="virb-rerun-") as folder:
        outcome = run(
            [source], [record["task"]["name"]], context=context, options=replace(options, out=folder), progress=progress
        )
        found = [
            r for r in ResultStore(folder).records() if (r["probe"], r["seed"]) == (record["probe"], record["seed"])
        ]
    if not found:
        raise VirbError(" ".join(failure.reason for failure in outcome.failures) or f"{path}: nothing was computed.")
    (again,) = found
    is_same = again["score"] == record["score"] and again["predictions_sha256"] == record.get("predictions_sha256")
    differs = differences(record.get("fingerprint") or {}, again["fingerprint"])
    return Rerun(record["score"], again["score"], is_same, differs)
