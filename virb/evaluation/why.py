"""Why a record would be computed again: its fingerprint against what would be computed now, field by field."""

from __future__ import annotations

from pathlib import Path

from virb import probes, registry
from virb.contracts.examples import DataContext
from virb.errors import DataError, RecordError
from virb.evaluation import recorded
from virb.evaluation.encoders import load_encoders
from virb.evaluation.fields import fingerprint_now, read_data
from virb.evaluation.units import as_probed
from virb.records.fingerprint import differences
from virb.records.record import FIRST_SCHEMA


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
        record = recorded.load(path)
    except RecordError as error:
        return [str(error)]
    if record["schema"] == FIRST_SCHEMA or "fingerprint" not in record:
        return ["it is of virb 0.1, which did not write down on what data and by which settings a score was made"]
    source, options = recorded.source_of(record, path, encoder), recorded.options_of(record)
    task = registry.load("tasks", record["task"]["name"])
    trains = registry.load("tasks", task.heads_of) if task.heads_of else task
    probe = probes.find(options.probe)
    trains, task = as_probed(trains, probe), as_probed(task, probe)
    (loaded,) = load_encoders([source], dtype=options.dtype or "fp32", is_compiled=options.compile)
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
