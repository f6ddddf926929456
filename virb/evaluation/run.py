"""Plan the grid of jobs (encoder x task x seed), and run what is missing."""

from __future__ import annotations

import copy
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb import probes, registry
from virb.contracts.examples import DataContext
from virb.contracts.task import Task
from virb.convert.load import expand_sources, load_encoder
from virb.errors import BrokenPart, UsageError, VirbError
from virb.evaluation.executors import dask as cluster
from virb.evaluation.grid import Failure, Job, Overrides, Unit
from virb.evaluation.parts import parts_of
from virb.evaluation.runner import Runner
from virb.networks.encoder import FrozenEncoder
from virb.records.store import ResultStore, probe_name
from virb.system import devices
from virb.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_CACHE_GB = 20.0
resolve_device = devices.resolve


@dataclass
class Outcome:
    """What a run did: the table of every requested job that has a record, and what failed."""

    table: pd.DataFrame
    n_run: int
    n_present: int
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Failure] = field(default_factory=list)  # optional tasks of the suite whose data are not there


def evaluate(
    encoders: Sequence[str | os.PathLike[str] | FrozenEncoder],
    tasks: Sequence[str | Task] | None = None,
    *,
    data: str | os.PathLike[str] | DataContext | None = None,
    out: str | os.PathLike[str] = "results",
    seeds: int = 1,
    probe: str = "gradient",
    device: str = "auto",
    suite: str = "mini",
    limit: int | None = None,
    epochs: int | None = None,
    executor: str = "local",
) -> pd.DataFrame:
    """Evaluate frozen encoders on end tasks and return the tidy table of their scores.

    Records that ``out`` already holds are not computed again. ``tasks`` are names of end tasks,
    or tasks themselves; by default all of ``suite``.
    ``probe`` is "gradient" (the paper's), "knn", "lbfgs" or "finetune"; the last three are for image-level tasks.
    ``limit`` (examples a split) and ``epochs`` shorten a run; such scores are kept apart from full ones.
    ``executor`` is "local", "dask" (workers on this machine: call it below ``if __name__ == "__main__":``, because they
    import the program anew) or "dask:tcp://HOST:PORT".

    Raises:
        VirbError: the call cannot be carried out, or some jobs failed (the others are saved; the text names them).
    """
    outcome = run(
        encoders,
        tasks,
        suite=suite,
        context=data if isinstance(data, DataContext) else DataContext(root=None if data is None else Path(data)),
        out=out,
        seeds=seeds,
        probe=probe,
        device=device,
        overrides=Overrides(limit=limit, epochs=epochs),
        executor=executor,
    )
    if outcome.failures:
        raise VirbError(
            f"{len(outcome.failures)} part(s) of the evaluation failed; what succeeded is in {out}. "
            + " ".join(f"[{failure.what}] {failure.reason}" for failure in outcome.failures)
        )
    return outcome.table


def run(
    encoders: Sequence[str | os.PathLike[str] | FrozenEncoder],
    tasks: Sequence[str | Task] | None = None,
    *,
    suite: str | None = "mini",
    context: DataContext,
    out: str | os.PathLike[str] = "results",
    seeds: int = 1,
    probe: str = "gradient",
    device: str = "auto",
    overrides: Overrides | None = None,
    cache_gb: float = DEFAULT_CACHE_GB,
    cache_limit_gb: float | None = None,
    progress: Progress | None = None,
    executor: str = "local",
    may_leave_out: bool | None = None,
) -> Outcome:
    """Run the grid; failures of single jobs are collected, the rest goes on.

    ``cache_gb`` is what the maps of one pixelwise task may take on disk, ``cache_limit_gb`` the whole feature cache
    (default: :func:`virb.system.cache.limit_bytes`). ``executor`` says where (:mod:`virb.evaluation.executors.dask`). With ``may_leave_out``
    (default: where ``tasks`` are not named) optional tasks whose data are absent are left out and are no failures.

    Raises:
        VirbError: nothing can be run as asked: unknown names, an unreadable encoder, an unwritable ``out``.
    """
    encoders = expand_sources(encoders)
    overrides = overrides or Overrides()
    progress = progress or Progress(is_quiet=True)
    how = probes.find(probe)
    probes.check_options(how, overrides.as_dict())
    for what, value in (("seeds", seeds), ("limit", overrides.limit), ("epochs", overrides.epochs)):
        if value is not None and value < 1:
            raise UsageError(f"--{what} must be at least 1; found {value}.")
    if overrides.lr is not None and not 0 < overrides.lr < math.inf:
        raise UsageError(f"--lr must be a number above 0; found {overrides.lr:g}.")
    cluster.check(executor)
    failures: list[Failure] = []
    may_leave_out = not tasks if may_leave_out is None else may_leave_out
    chosen, suites = select_tasks(tasks, suite, failures)
    chosen = _fitting(how, chosen, is_named=bool(tasks), progress=progress)
    if seeds > 1 and not how.is_random:
        progress.note(f"Nothing in --probe {probe} is random: one record a task says what {seeds} seeds would.")
        seeds = 1
    store = ResultStore(out)
    store.check_writable()
    # Workers load the encoders for themselves.
    loaded = load_encoders(encoders, device if executor == "local" else "cpu", dtype=overrides.dtype or "fp32")
    if overrides.dtype == "tf32" and executor == "local" and loaded[0].device.type != "cuda":
        raise UsageError(f"--dtype tf32 is a GPU's; {loaded[0].device} computes in fp32. Leave it out.")
    for encoder in loaded:
        store.check_identity(encoder.name, encoder.identity)
    _check_pyramids(loaded, chosen)

    label = probe_name(probe, overrides.as_dict())
    jobs = [Job(k, task.name, seed) for task in chosen for k in range(len(loaded)) for seed in range(seeds)]
    by_name = {task.name: task for task in chosen}

    def record_of(job: Job) -> dict[str, Any] | None:
        record = store.read(store.path(loaded[job.encoder].name, job.task, label, job.seed))
        is_current = record is not None and record["task"]["version"] == by_name[job.task].version
        return record if is_current else None

    present = {job: record for job in jobs if (record := record_of(job)) is not None}
    missing = [job for job in jobs if job not in present]
    n_run, left_out = 0, []
    if missing and executor == "local":
        runner = Runner(
            loaded,
            store,
            context,
            suites,
            how,
            overrides,
            loaded[0].device,
            cache_gb,
            progress,
            cache_limit_gb,
        )
        with devices.tf32(overrides.dtype == "tf32"):
            n_run = runner.run(_units(chosen), missing, present, failures, is_suite=may_leave_out)
        left_out = runner.left_out
    elif missing:
        given = {item.name: item for item in tasks or () if isinstance(item, Task)}
        report = cluster.run(
            executor,
            cluster.make_plan(
                context,
                out,
                seeds=seeds,
                probe=probe,
                device=device,
                overrides=overrides,
                cache_gb=cache_gb,
                cache_limit_gb=cache_limit_gb,
                may_leave_out=may_leave_out,
            ),
            [
                (unit.trains.name, [given.get(task.name, task.name) for task in unit.scores], counts)
                for unit in _units(chosen)
                if (counts := _missing_by_encoder(unit, missing))
            ],
            [
                (cluster.absolute_source(source), encoder.identity)
                for source, encoder in zip(encoders, loaded, strict=True)
            ],
            progress,
        )
        failures += report.failures
        left_out = report.left_out
        n_seen = sum(record_of(job) is not None for job in missing)
        n_run = max(report.n_run, n_seen)  # a lost worker had written some before another took its piece
        if n_run and not n_seen and not report.failures:
            reason = (
                f"the workers wrote {n_run} records, none is seen here. All machines must share the results folder."
            )
            failures.append(Failure(str(out), reason))
    return Outcome(_requested(store, loaded, jobs, label), n_run, len(jobs) - len(missing), failures, left_out)


def _fitting(probe: probes.Probe, tasks: list[Task], *, is_named: bool, progress: Progress) -> list[Task]:
    """Return the tasks that ``probe`` fits. Of a suite the others are left out with a note; named ones are refused."""
    pixelwise = [task.name for task in tasks if task.category.is_pixelwise]
    if probe.fits_pixelwise or not pixelwise:
        return tasks
    fitting = [task for task in tasks if not task.category.is_pixelwise]
    if is_named or not fitting:
        others = [other.name for other in probes.PROBES.values() if other.fits_pixelwise]
        raise UsageError(
            f"--probe {probe.name} predicts one class an example, and {', '.join(pixelwise)} "
            f"{'is a pixelwise task' if len(pixelwise) == 1 else 'are pixelwise tasks'}. Use --probe "
            f"{' or '.join(others)} there, or name image-level tasks alone."
        )
    progress.note(f"--probe {probe.name} is for image-level tasks; left out: {', '.join(pixelwise)}")
    return fitting


def select_tasks(
    names: Sequence[str | Task] | None, suite: str | None, failures: list[Failure]
) -> tuple[list[Task], dict[str, str]]:
    """Load the named tasks, or those of the suite; a broken file becomes a failure and the rest goes on.

    Returns:
        The tasks, and the suite of each by name; a task that was passed as an object has none.

    Raises:
        UsageError: no task can be loaded.
        RegistryError: a name is unknown.
    """
    if names:
        found: dict[str, Task] = {}
        groups: dict[str, str] = {}
        for name in names:
            if isinstance(name, Task):
                parts_of(name)
                found[name.name] = name
                continue
            try:
                entry = registry.find("tasks", name)
                found[name] = checked(registry.load_entry(entry))
                groups[name] = entry.group
            except BrokenPart as error:
                failures.append(Failure(name, str(error)))
        if not found:
            raise UsageError(" ".join(failure.reason for failure in failures))
        return list(found.values()), groups
    entries = registry.entries("tasks")
    suites = {entry.group for entry in entries}
    if suite not in suites:
        raise UsageError(f"Unknown suite {suite!r}. {registry.suggest(str(suite), suites)}")
    chosen = []
    for entry in entries:
        if entry.group != suite:
            continue
        try:
            chosen.append(checked(registry.load_entry(entry)))
        except VirbError as error:
            failures.append(Failure(entry.name, str(error)))
    if not chosen:
        raise UsageError(f"No task of the suite {suite!r} can be loaded. " + " ".join(f.reason for f in failures))
    return chosen, {task.name: suite for task in chosen}


def checked(task: Task) -> Task:
    """Return ``task`` if its parts are there and fit together.

    Raises:
        BrokenPart: they do not.
    """
    try:
        parts_of(task)
    except UsageError as error:
        raise BrokenPart(str(error)) from error
    return task


def load_encoders(
    encoders: Sequence[str | os.PathLike[str] | FrozenEncoder], device: str = "auto", *, dtype: str = "fp32"
) -> list[FrozenEncoder]:
    """Load every encoder; all that cannot be loaded are named in one error, before any work begins.

    ``dtype`` ("fp32", "tf32", "bf16", "fp16") is that of the forward pass; encoders that come loaded keep theirs under
    "fp32". They run on ``device`` wherever they were loaded, and the caller's stay as they are.
    """
    kind = devices.torch_dtype(dtype)
    if not encoders:
        raise UsageError("No encoder was named. Give files (encoders/*.pt) or names such as random:resnet18.")
    place = resolve_device(device)
    loaded: list[FrozenEncoder] = []
    problems: list[str] = []
    for item in encoders:
        try:
            encoder = item if isinstance(item, FrozenEncoder) else load_encoder(os.fspath(item), device=place)
            wanted = (place, encoder.dtype if dtype == "fp32" else kind)
            loaded.append(encoder if (encoder.device, encoder.dtype) == wanted else copy.copy(encoder).to(*wanted))
        except VirbError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems) if len(problems) > 1 else problems[0])
    names: dict[str, FrozenEncoder] = {}
    for encoder in loaded:
        if encoder.name in names:
            raise UsageError(
                f"Two encoders are called {encoder.name!r}; results are kept by name. Rename one of the files."
            )
        names[encoder.name] = encoder
    return loaded


def _check_pyramids(encoders: Sequence[FrozenEncoder], tasks: Sequence[Task]) -> None:
    """Refuse pixelwise tasks where an encoder has no maps, before anything runs."""
    flat = [encoder.name for encoder in encoders if not encoder.channels]
    dense = [task.name for task in tasks if task.category.is_pixelwise]
    if flat and dense:
        fitting = ",".join(task.name for task in tasks if not task.category.is_pixelwise)
        raise UsageError(
            f"{', '.join(flat)}: a projection is one vector an image and has no maps, which {', '.join(dense)} "
            f"need{'s' * (len(dense) == 1)}. Evaluate it on image-level tasks"
            f"{f' alone (--tasks {fitting})' if fitting else ''}, or the encoder without features=projection."
        )


def _requested(store: ResultStore, encoders: Sequence[FrozenEncoder], jobs: Sequence[Job], label: str) -> pd.DataFrame:
    """Return the rows of the tidy table that belong to ``jobs``; empty if none has a record."""
    import pandas as pd

    wanted = {(encoders[job.encoder].name, job.task, label, job.seed) for job in jobs}
    try:
        table = store.table()
    except UsageError:
        return pd.DataFrame()
    keys = zip(table["encoder"], table["task"], table["probe"], table["seed"], strict=True)
    return table[[key in wanted for key in keys]].reset_index(drop=True)


def _missing_by_encoder(unit: Unit, missing: Sequence[Job]) -> dict[int, int]:
    names = {task.name for task in unit.scores}
    return dict(sorted(Counter(job.encoder for job in missing if job.task in names).items()))


def _units(tasks: Sequence[Task]) -> list[Unit]:
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.heads_of or task.name, []).append(task)
    by_name = {task.name: task for task in tasks}
    return [
        Unit(by_name[name] if name in by_name else registry.load("tasks", name), tuple(scored))
        for name, scored in groups.items()
    ]
