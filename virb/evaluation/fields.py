"""What a job's fingerprint is made of: the task, the probe, the data and the encoder, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virb import registry
from virb.contracts.budget import WHOLE, Budget
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.probe import Probe
from virb.contracts.task import Task
from virb.evaluation import labelled, stages
from virb.evaluation.grid import Unit, effective, holds_out, own_options
from virb.evaluation.parts import parts_of
from virb.networks.encoder import FrozenEncoder
from virb.records import fingerprint as prints
from virb.records.fingerprint import Fields
from virb.records.record import digest
from virb.system.progress import Progress


def fingerprint_now(
    encoder: FrozenEncoder,
    data: Fields,
    trains: Task,
    scored: Task,
    probe: Probe,
    options: RunOptions,
    seed: int,
    budget: Budget = WHOLE,
) -> Fields:
    """Return the fingerprint of the job as it would be computed now."""
    return prints.fingerprint(
        encoder=prints.encoder_fields(encoder),
        data=data,
        task=task_fields(trains, scored),
        probe=probe_fields(probe, trains, options, seed, budget),
    )


def read_data(
    trains: Task, scored: Task, context: DataContext, options: RunOptions, probe: Probe
) -> tuple[Unit, Fields]:
    """Return the digests of a job's data, as far as they decide what the probe computes, and its tasks as the data name
    their classes.

    Raises:
        DataError: they are not there or cannot be read.
    """
    unit, train, tests = stages.read(Unit(trains, (scored,)), context, options, Progress(is_quiet=True))
    train = train if holds_out(probe, options) else train.without_hold_out()
    return unit, {"train": digests_of(train), "test": digests_of(tests[scored.name].without_hold_out())}


def task_fields(trains: Task, scored: Task) -> Fields:
    """What a task asks: of ``trains`` the head and how it learns, of ``scored`` how it is judged.

    Of parts from outside the digest of the file is named too; what the engine's own compute has a version of its own.
    """
    fitted, judged = parts_of(trains), parts_of(scored)
    return {
        "head": _part("heads", trains.head, fitted.head_options),
        "loss": _part("losses", trains.loss, {}) if trains.loss else None,
        "metric": _part("metrics", scored.metric, judged.metric_options),
        "target": fitted.target,
        "ignore_index": {"train": fitted.ignore_index, "test": judged.ignore_index},
        "n_out": trains.n_out,
        "n_classes": trains.n_classes,
        "class_names": digest(scored.class_names),
        "n_frames": trains.n_frames,
        **({"quantity": trains.quantity} if trains.quantity else {}),
        **trains.protocol.of_images,  # nothing where images are squashed, as before there was a choice
    }


def _part(kind: str, name: str, options: Mapping[str, Any]) -> Fields:
    entry = registry.find(kind, name)
    fields: Fields = {"name": name, "options": prints.plain(options)}
    return fields if entry.is_built_in else {**fields, "source": entry.digest}


def probe_fields(probe: Probe, trains: Task, options: RunOptions, seed: int, budget: Budget = WHOLE) -> Fields:
    """What a probe does on a task: every setting with its value, the label budget and the seed.

    The data's digests are of the whole train split; which of its examples have labels follows from budget and seed.
    """
    protocol = effective(probe.protocol or trains.protocol, options)
    entry = registry.find("probes", probe.name)
    outside: Fields = {} if entry.is_built_in else {"source": entry.digest}
    return {
        **outside,
        "name": probe.name,
        "settings": prints.plain(
            probe.settings({**protocol.of_training, **own_options(probe, options)}, trains.label_preserving)
        ),
        "limit": options.limit,
        "skip_corrupt": options.skip_corrupt,
        "precision": options.dtype or "fp32",
        "seed": seed if probe.is_random or not budget.is_whole else 0,
        **({} if budget.is_whole else {"labels": {**budget.overrides(), "draw": labelled.VERSION}}),
    }


def digests_of(examples: Examples) -> Fields:
    """What examples are: digests of their images in order of use, frames, targets, ids and groups, and their number."""
    return {**examples.digests(), "n": len(examples)}
