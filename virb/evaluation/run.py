"""Evaluate encoders on tasks: load what is named, plan what is missing, run it, and return the table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb import probes, registry
from virb.contracts.examples import DataContext
from virb.contracts.executor import Chunk, Executor, Report, Work
from virb.contracts.options import RunOptions
from virb.contracts.task import Task
from virb.convert.load import expand_sources
from virb.errors import RegistryError, UsageError, VirbError, option
from virb.evaluation import stages
from virb.evaluation.about import About, check_meta
from virb.evaluation.encoders import Source, load_encoders
from virb.evaluation.fitting import fitting
from virb.evaluation.grid import Failure, Job, Unit
from virb.evaluation.pieces import Runner
from virb.evaluation.plan import Plan, Planner
from virb.evaluation.units import select_tasks, units_of
from virb.records.names import folded
from virb.records.store import ResultStore
from virb.system import devices
from virb.system.allocator import no_search_for_cycles
from virb.system.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
import torch

Meta = Mapping[str, Mapping[str, Any]] | str | os.PathLike[str]


@dataclass
class Outcome:
    """What a run did: the table of every requested job that has a record, and what failed."""

    table: pd.DataFrame
    n_run: int
    n_present: int
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Failure] = field(default_factory=list)  # optional tasks of the suite whose data are not there


def evaluate(
    encoders: Source | Sequence[Source],
    tasks: str | Task | Sequence[str | Task] | None = None,
    *,
    data: str | os.PathLike[str] | DataContext | None = None,
    out: str | os.PathLike[str] = RunOptions.out,
    seeds: int = RunOptions.seeds,
    probe: str = RunOptions.probe,
    device: str = RunOptions.device,
    suite: str = "mini",
    limit: int | None = None,
    epochs: int | None = None,
    optimizer: str | None = None,
    lr: float | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    weight_decay: float | None = None,
    weight_decay_on: str | None = None,
    k: int | str | None = None,
    temperature: float | None = None,
    memory_patches: int | None = None,
    penalties: str | None = None,
    dtype: str | None = None,
    compile: bool = False,
    skip_corrupt: bool = False,
    label_fraction: float | Sequence[float] | None = None,
    labels_per_class: int | Sequence[int] | None = None,
    executor: str = RunOptions.executor,
    cache_gb: float = RunOptions.cache_gb,
    cache_limit_gb: float | None = None,
    include: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    meta: Meta | None = None,
    progress: Progress | bool = False,
) -> pd.DataFrame:
    """Evaluate frozen encoders on end tasks and return the tidy table of their scores.

    A job is not computed again where ``out`` holds its record: one made from the same encoder, data, task and settings
    by content, whatever they are called and wherever they lie.

    Args:
        encoders: files, names, loaded encoders or modules (which :func:`virb.wrap` makes encoders); one may stand alone.
        tasks: names of end tasks, or tasks themselves; by default all of ``suite``.
        data: the folder of the data sets (default: $VIRB_DATA), or a
            :class:`~virb.contracts.examples.DataContext`, whose ``places`` say where single sets lie.
        probe: "gradient" (the paper's) or another of ``virb list probes``; most of the others take image-level tasks alone.
        limit: examples a split; with ``epochs``, ``optimizer``, ``lr``, ``dtype``, ``compile`` and ``skip_corrupt`` a departure from
            the protocol, whose scores are kept apart from those of full runs. So are ``steps``, ``batch_size``,
            ``weight_decay`` and ``weight_decay_on`` (training), ``k`` and ``temperature`` (knn, knn-dense),
            ``memory_patches`` (knn-dense), ``penalties`` (lbfgs).
        label_fraction, labels_per_class: on how many labels heads train, one number or several: a share of each class's
            training examples, or examples a class. A seed draws them, the smaller number within the larger, the same for
            all encoders; the columns of these names say of each score which it is.
        executor: "local", "dask" (workers on this machine: call it below ``if __name__ == "__main__":``, because they
            import the program anew) or "dask:tcp://HOST:PORT".
        include: folders of tasks, methods and analyses of your own.
        meta: what is to be known of encoders (role, family, ...): a mapping by encoder name, or a CSV file with the column
            encoder.
        progress: True prints to standard error how far the run is.

    Raises:
        VirbError: the call cannot be carried out, or some jobs failed (the others are saved; the text names them).
    """
    options = RunOptions(
        out=os.fspath(out),
        seeds=seeds,
        probe=probe,
        device=device,
        executor=executor,
        optimizer=optimizer,
        lr=lr,
        steps=steps,
        batch_size=batch_size,
        weight_decay=weight_decay,
        weight_decay_on=weight_decay_on,
        k=k,
        temperature=temperature,
        memory_patches=memory_patches,
        penalties=penalties,
        limit=limit,
        epochs=epochs,
        dtype=dtype,
        compile=compile,
        skip_corrupt=skip_corrupt,
        label_fraction=label_fraction,  # type: ignore[arg-type]  # one number or several become a tuple
        labels_per_class=labels_per_class,  # type: ignore[arg-type]
        cache_gb=cache_gb,
        cache_limit_gb=cache_limit_gb,
    )
    folders = [include] if isinstance(include, (str, os.PathLike)) else list(include)
    if folders:
        registry.include(*(os.fspath(folder) for folder in folders))
    if isinstance(data, (str, os.PathLike)) and not os.path.isdir(data):
        raise UsageError(f"{option('data', os.fspath(data))}: there is no such folder.")
    shown = progress if isinstance(progress, Progress) else Progress(is_quiet=not progress)
    outcome = run(
        encoders,
        tasks,
        suite=suite,
        context=data if isinstance(data, DataContext) else DataContext(root=Path(data) if data is not None else None),
        options=options,
        meta=meta,
        progress=shown,
    )
    if outcome.failures:
        raise VirbError(
            f"{len(outcome.failures)} part(s) of the evaluation failed; what succeeded is in {out}. "
            + " ".join(f"[{failure.what}] {failure.reason}" for failure in outcome.failures)
        )
    return outcome.table


def run(
    encoders: Source | Sequence[Source],
    tasks: str | Task | Sequence[str | Task] | None = None,
    *,
    suite: str | None = "mini",
    context: DataContext,
    options: RunOptions | None = None,
    meta: Meta | None = None,
    progress: Progress | None = None,
    may_leave_out: bool | None = None,
) -> Outcome:
    """Run the grid; failures of single jobs are collected, the rest goes on.

    With ``may_leave_out`` (default: where ``tasks`` are not named) optional tasks whose data are absent are left out and
    are no failures, and so are tasks that the probe or the label budgets are not for.

    Raises:
        VirbError: nothing can be run as asked: unknown names, no encoder that can be read, an unwritable ``out``. One
            encoder of several that cannot be read is a failure of the outcome.
    """
    options = options or RunOptions()
    progress = progress or Progress(is_quiet=True)
    sources = expand_sources(encoders)
    names = [tasks] if isinstance(tasks, (str, Task)) else None if tasks is None else list(tasks)
    if names == []:
        raise UsageError(f"{option('tasks')} names no end task. Leave it out to evaluate on all of the suite {suite}.")
    how = probes.find(options.probe)
    probes.check_options(how, options.overrides())
    executor, place = find_executor(options.executor)
    failures: list[Failure] = []
    may_leave_out = not names if may_leave_out is None else may_leave_out
    chosen, suites = select_tasks(names, suite, failures)
    chosen = fitting(
        how, chosen, options.budgets(), given=options.overrides(), is_named=not may_leave_out, progress=progress
    )
    check_task_names(chosen)
    if options.seeds > 1 and not how.is_random and all(budget.is_whole for budget in options.budgets()):
        progress.note(
            f"Nothing in {option('probe', options.probe)} is random: one record a task says what {options.seeds} seeds would."
        )
        options = options.one_seed()
    store = ResultStore(options.out)
    store.check_writable()
    place_of = options.device if executor.is_here else "cpu"
    unread: dict[int, str] = {}
    if options.compile and executor.is_here:
        devices.check_compiler(devices.resolve(place_of))
    loaded = load_encoders(
        sources, place_of, dtype=options.dtype or "fp32", is_compiled=options.compile, problems=unread
    )
    sources = [source for k, source in enumerate(sources) if k not in unread]
    with no_search_for_cycles():
        for k, encoder in enumerate(loaded):
            try:
                store.check_identity(encoder.name, encoder.identity, encoder.sha256)
            except VirbError as error:
                unread[-1 - k] = str(error)
    used = [k for k in range(len(loaded)) if -1 - k not in unread]
    if not used:
        raise UsageError("\n".join(unread.values()))
    sources, loaded = [sources[k] for k in used], [loaded[k] for k in used]
    for reason in unread.values():
        failures.append(Failure("an encoder", reason))
        progress.note(failures[-1].line)
    if options.dtype == "tf32" and executor.is_here and loaded[0].device.type != "cuda":
        raise UsageError(f"{option('dtype', 'tf32')} is a GPU's; {loaded[0].device} computes in fp32. Leave it out.")
    n_gpus = torch.cuda.device_count() if loaded[0].device.type == "cuda" else 0
    if executor.is_here and n_gpus > 1:
        progress.note(
            f"This run uses one of {n_gpus} GPUs; {option('executor')} can give each a worker (virb list executors)."
        )
    store.check_names([encoder.name for encoder in loaded])
    store.collect_leftovers()
    about = About(suites, check_meta(meta, [encoder.name for encoder in loaded], progress))
    units = stages.readable(units_of(chosen, how), loaded, how, failures, progress)
    with devices.tf32(options.dtype == "tf32"):
        with no_search_for_cycles():
            planner = Planner(loaded, store, context, how, options, about=about, progress=progress)
            plan = planner.plan(units, may_leave_out=may_leave_out)
            store.save_remembered()
        for line in context.unread():
            progress.note(line)

        def here() -> Report:
            found: list[Failure] = []
            runner = Runner(loaded, store, context, how, options, about=about, progress=progress)
            return Report(runner.run(plan.pieces, found) if plan.pieces else 0, found)

        missing = _missing(plan, is_here=executor.is_here)
        given = {item.name: item for item in names or () if isinstance(item, Task)}
        work = Work(
            here=here,
            run=run,
            chunks=[_chunk(unit, jobs, given) for unit, jobs in missing],
            encoders=[(source, encoder.identity) for source, encoder in zip(sources, loaded, strict=True)],
            context=context,
            options=options,
            meta=meta,
            may_leave_out=may_leave_out,
        )
        report = executor.run(work, place, progress) if missing else Report()
    n_run = report.n_run if executor.is_here else _seen(planner, plan, missing, report, options)
    elsewhere = (
        set() if executor.is_here else {unit.trains.name for unit, _ in plan.unread}
    )  # which a worker may have read
    failures += [failure for failure in plan.failures if failure.what not in elsewhere]
    failures += [failure for failure in report.failures if failure not in failures]  # workers plan for themselves
    left_out = plan.left_out + [skipped for skipped in report.left_out if skipped not in plan.left_out]
    with no_search_for_cycles():
        table = _table(planner, plan, [job for unit in units for job in planner.jobs_of(unit)])
    return Outcome(table, n_run, len(plan.present | plan.unchecked), failures, left_out)


def find_executor(spec: str) -> tuple[Executor, str]:
    """Return the executor and the place of "NAME" or "NAME:PLACE".

    Raises:
        UsageError: there is none, or it cannot run there.
    """
    name, colon, place = spec.partition(":")
    try:
        found: Executor = registry.load("executors", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    if colon and not place:
        raise UsageError(f"Unknown executor {spec!r}: no place follows the colon.")
    found.check(place)
    return found, place


Missing = Sequence[tuple[Unit, Sequence[Job]]]


def _missing(plan: Plan, *, is_here: bool) -> Missing:
    """Return the jobs to run, unit by unit; what this machine could not read, another may."""
    found: dict[int, tuple[Unit, list[Job]]] = {}
    for piece in plan.pieces:
        _, jobs = found.setdefault(id(piece.unit), (piece.unit, []))
        jobs += [
            Job(encoder, task.name, seed, piece.budget) for (encoder, seed), row in piece.jobs.items() for task in row
        ]
    pieces = list(found.values())
    return pieces if is_here else pieces + plan.unread


def _chunk(unit: Unit, jobs: Sequence[Job], given: Mapping[str, Task]) -> Chunk:
    tasks = tuple(given.get(task.name, task.name) for task in unit.scores)
    return Chunk(unit.trains.name, tasks, dict(sorted(Counter(job.encoder for job in jobs).items())))


def _seen(planner: Planner, plan: Plan, missing: Missing, report: Report, options: RunOptions) -> int:
    """Return how many of the jobs that ran elsewhere have a record here; that there is none becomes a failure."""
    n_seen = sum(planner.is_done(job, plan) for _, jobs in missing for job in jobs)
    if report.n_run and not n_seen and not report.failures:
        reason = (
            f"the workers wrote {report.n_run} records, none is seen here. All machines must share the results folder."
        )
        report.failures.append(Failure(options.out, reason))
    return max(report.n_run, n_seen)  # a lost worker had written some before another took its piece


def _table(planner: Planner, plan: Plan, jobs: Sequence[Job]) -> pd.DataFrame:
    """Return the rows of ``jobs`` that have a record of their fingerprint; empty if none has."""
    from virb.records import columns

    more = columns.added_columns()
    rows = []
    for job in jobs:
        if job in plan.rows and not more:
            rows.append(plan.rows[job])
        elif (record := planner.record(job, plan)) is not None:
            rows.append(columns.with_columns(columns.row(record), record, more))
    return columns.table_of(rows)


def check_task_names(tasks: Sequence[Task]) -> None:
    """Raise UsageError if two tasks differ in name by case alone: their results would be one folder."""
    names: dict[str, str] = {}
    for task in tasks:
        other = names.setdefault(folded(task.name), task.name)
        if other != task.name:
            raise UsageError(f"The tasks {other} and {task.name} differ by case alone; results are kept by name.")
