"""Why a record would be computed again: its fingerprint against what would be computed now, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virb import probes, registry
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.errors import DataError, RecordError, UsageError
from virb.evaluation.plan import as_probed, fingerprint_now, read_data
from virb.evaluation.run import load_encoders
from virb.records.fingerprint import differences
from virb.records.record import FIRST_SCHEMA
from virb.records.store import ResultStore, base_probe


def why(path: Path, *, context: DataContext, encoder: str | None = None) -> list[str]:
    """Return every reason why ``virb evaluate`` would compute this record again; none if it would not.

    Args:
        path: ``<results>/<encoder>/<task>/<probe>-seed<k>.json``.
        encoder: what to compare with, where the record does not say where its encoder was loaded from.

    Raises:
        UsageError: there is no such file, or the encoder or the task cannot be loaded.
    """
    path = Path(path).absolute()
    try:
        record = ResultStore(path.parents[2] if len(path.parents) > 2 else path.parent).load(path)
    except FileNotFoundError:
        raise UsageError(f"There is no record {path}.") from None
    except RecordError as error:
        return [str(error)]
    if record["schema"] == FIRST_SCHEMA or "fingerprint" not in record:
        return ["it is of virb 0.1, which did not write down on what data and by which settings a score was made"]
    source = encoder or record["encoder"].get("source")
    if not source:
        raise UsageError(f"{path} does not say where its encoder was loaded from. Name it with --encoder.")
    given: dict[str, Any] = dict(record["overrides"])
    if "skip_corrupt" in given:
        given["skip_corrupt"] = bool(given["skip_corrupt"])
    options = RunOptions(probe=base_probe(record["probe"]), **given)
    task = registry.load("tasks", record["task"]["name"])
    trains = registry.load("tasks", task.heads_of) if task.heads_of else task
    probe = probes.find(options.probe)
    trains, task = as_probed(trains, probe), as_probed(task, probe)
    (loaded,) = load_encoders([source], dtype=options.dtype or "fp32")
    was, out = record["fingerprint"], []
    try:
        unit, data = read_data(trains, task, context, options, probes.find(options.probe))
        trains, task = unit.trains, unit.scores[0]
    except DataError as error:
        data = was["data"]
        out.append(f"data: not compared, as they cannot be read here: {error}")
    (budget,) = options.budgets()
    now = fingerprint_now(loaded, data, trains, task, probe, options, record["seed"], budget)
    return [*differences(was, now), *out]
