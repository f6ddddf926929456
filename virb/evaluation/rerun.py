"""Compute a record again, elsewhere, and say whether the same came out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from virb.contracts.examples import DataContext
from virb.errors import RecordError, UsageError, VirbError
from virb.evaluation import recorded
from virb.records.fingerprint import differences
from virb.records.store import ResultStore
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
        record = recorded.load(path)
    except RecordError as error:
        raise UsageError(str(error)) from error
    source = recorded.source_of(record, path, encoder)
    with tempfile.TemporaryDirectory(prefix="virb-rerun-") as folder:
        options = recorded.options_of(record, seeds=record["seed"] + 1, device=device, out=folder)
        outcome = run([source], [record["task"]["name"]], context=context, options=options, progress=progress)
        found = [
            r for r in ResultStore(folder).records() if (r["probe"], r["seed"]) == (record["probe"], record["seed"])
        ]
    if not found:
        raise VirbError(" ".join(failure.reason for failure in outcome.failures) or f"{path}: nothing was computed.")
    (again,) = found
    is_same = again["score"] == record["score"] and again["predictions_sha256"] == record.get("predictions_sha256")
    differs = differences(record.get("fingerprint") or {}, again["fingerprint"])
    return Rerun(record["score"], again["score"], is_same, differs)
