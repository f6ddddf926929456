"""What is missing: the fingerprint of every job that was asked for, against the records that are there."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.budget import WHOLE, Budget
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.probe import Probe
from virb.contracts.task import Task
from virb.errors import DataAbsent, RecordError, VirbError
from virb.evaluation import labelled, stages
from virb.evaluation.about import About
from virb.evaluation.fields import digests_of, fingerprint_now, probe_fields, task_fields
from virb.evaluation.grid import Failure, Job, Piece, Unit, holds_out
from virb.evaluation.guard import Guard
from virb.evaluation.parts import Parts, parts_of
from virb.networks.encoder import FrozenEncoder
from virb.records import columns
from virb.records import fingerprint as prints
from virb.records.fingerprint import Fields
from virb.records.names import probe_name
from virb.records.record import FIRST_SCHEMA, Record, canonical, digest
from virb.records.store import ResultStore
from virb.system.progress import Progress


@dataclass
class Plan:
    """What a run has to do.

    Attributes:
        pieces: the missing jobs, with their data.
        present: jobs whose record is there and is of the same fingerprint.
        unchecked: jobs whose record agrees in all but the data, which are not there to compare it with.
        unread: units whose data are not on this machine, with their jobs that have no such record.
        failures, left_out: units whose data cannot be read; optional tasks of a suite without data.
    """

    pieces: list[Piece] = field(default_factory=list)
    present: set[Job] = field(default_factory=set)
    unchecked: set[Job] = field(default_factory=set)
    unread: list[tuple[Unit, list[Job]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Failure] = field(default_factory=list)
    digests: dict[Job, str] = field(default_factory=dict)  # of the fingerprints of all jobs whose data are there
    rows: dict[Job, dict[str, Any]] = field(default_factory=dict)  # of the table, of the jobs that are present

    @property
    def unread_jobs(self) -> set[Job]:
        return {job for _, jobs in self.unread for job in jobs}


class Planner:
    """Compares what was asked for with what is there; writes nothing but names and descriptions."""

    def __init__(
        self,
        encoders: Sequence[FrozenEncoder],
        store: ResultStore,
        context: DataContext,
        probe: Probe,
        options: RunOptions,
        *,
        about: About,
        progress: Progress,
    ) -> None:
        self.encoders = encoders
        self.store = store
        self.context = context
        self.probe = probe
        self.options = options
        self.about = about
        self.progress = progress
        self._encoder_parts = [prints.part(prints.encoder_fields(encoder)) for encoder in encoders]
        self._said_of = [about.encoder(encoder) for encoder in encoders]
        self._told_of = [digest({**said, "source": None}) for said in self._said_of]  # where it lies is not compared
        self._remembered = [store.remembered(encoder.name) for encoder in encoders]
        self._names: dict[Budget, str] = {}  # of the probe in records
        self._n_old = 0

    def plan(self, units: Sequence[Unit], *, may_leave_out: bool) -> Plan:
        """Look at the data of every unit and at the records of its jobs.

        With ``may_leave_out`` optional tasks whose data are absent are no failures.
        """
        found = Plan()
        for unit in units:
            with Guard(unit.trains.name, found.failures, self.progress):
                self._add(unit, found, may_leave_out=may_leave_out)
        if self._n_old:
            self.progress.note(
                f"{self._n_old} record{'s' * (self._n_old > 1)} of virb 0.1 do{'es' * (self._n_old == 1)} not say on what "
                "data and by which settings the score was made: computed again."
            )
        return found

    def jobs_of(self, unit: Unit) -> Iterator[Job]:
        budgets = self._budgets(unit)
        for task in unit.scores:
            for encoder in range(len(self.encoders)):
                for budget in budgets:
                    for seed in range(self._n_seeds(budget)):
                        yield Job(encoder, task.name, seed, budget)

    def _budgets(self, unit: Unit) -> list[Budget]:
        """Return those of the budgets that are for the unit's targets and its head."""
        parts = parts_of(unit.trains)
        return [
            budget for budget in self.options.budgets() if labelled.fits(parts.target, budget, trains=parts.head.trains)
        ]

    def _n_seeds(self, budget: Budget) -> int:
        """Which examples have labels is drawn by the seed, so that of a part of them nothing is without chance."""
        return self.options.seeds if self.probe.is_random or not budget.is_whole else 1

    def path(self, job: Job) -> Path:
        return self.store.root / self.encoders[job.encoder].name / self._place(job)

    def _place(self, job: Job) -> str:
        """Return the path of the job's record below its encoder's folder, which is the same for all encoders."""
        if job.budget not in self._names:
            self._names[job.budget] = record_name(self.probe, self.options, job.budget)
        return f"{job.task}/{self._names[job.budget]}-seed{job.seed}.json"

    def record(self, job: Job, plan: Plan) -> Record | None:
        """Return the job's record if it is the one that was asked for."""
        record = self.store.read(self.path(job))
        if record is None or job in plan.unchecked:
            return record
        wanted = plan.digests.get(job)
        if wanted is None:  # a worker read the data, not this machine
            return record if job in plan.unread_jobs and "fingerprint" in record else None
        return record if record.get("fingerprint", {}).get("sha256") == wanted else None

    def is_done(self, job: Job, plan: Plan) -> bool:
        return self.record(job, plan) is not None

    def _add(self, unit: Unit, found: Plan, *, may_leave_out: bool) -> None:
        try:
            unit, train, tests = stages.read(unit, self.context, self.options, self.progress)
        except VirbError as error:
            unchecked = {job for job in self.jobs_of(unit) if self._agrees_but_for_data(unit, job)}
            missing = [job for job in self.jobs_of(unit) if job not in unchecked]
            found.unchecked |= unchecked
            if unchecked:
                self.progress.note(
                    f"{unit.trains.name}: {len(unchecked)} record{'s are' if len(unchecked) > 1 else ' is'} shown as found "
                    f"and not checked against the data: {error}"
                )
            if not isinstance(error, DataAbsent):
                raise
            if not missing:
                return
            if may_leave_out and unit.trains.is_optional:
                found.left_out.append(Failure(unit.trains.name, str(error)))
                self.progress.note(f"{unit.trains.name}: left out: {str(error).removeprefix(f'{unit.trains.name}: ')}")
                return
            found.unread.append((unit, missing))
            raise
        if not holds_out(self.probe, self.options):
            train = train.without_hold_out()
        parts = parts_of(unit.trains)
        layer = stages.layer_of(self.probe, unit.trains)
        data = {"train": digests_of(train)}
        again: list[tuple[str, str]] = []  # the reason in short, and the record
        pieces = self._pieces(unit, train, tests, parts, layer, found)
        for task in unit.scores:
            data["test"] = digests_of(tests[task.name].without_hold_out())
            tested, asked = prints.part(dict(data)), prints.part(task_fields(unit.trains, task))
            said = self.about.task(task)
            told = self._told(said)
            for piece, seeds in pieces:
                probes = {
                    k: prints.part(probe_fields(self.probe, unit.trains, self.options, k, piece.budget)) for k in seeds
                }
                places = {seed: self._place(Job(0, task.name, seed, piece.budget)) for seed in seeds}
                for encoder, seed in product(range(len(self.encoders)), seeds):
                    job = Job(encoder, task.name, seed, piece.budget)
                    of = {
                        "encoder": self._encoder_parts[encoder], "data": tested, "task": asked, "probe": probes[seed],
                    }  # fmt: skip
                    found.digests[job] = wanted = prints.digest_of(**of)
                    row = self._remembered[encoder].row(places[seed], wanted, told[encoder])
                    if row is not None:
                        found.present.add(job)
                        found.rows[job] = row
                        continue
                    now = prints.joined(**of)
                    why = self._why_not(job, said, told[encoder], now, found.rows)
                    if why is None:
                        found.present.add(job)
                        continue
                    piece.fingerprints[job] = now
                    piece.jobs.setdefault((encoder, seed), []).append(task)
                    if why:
                        again.append((why, f"{self.encoders[encoder].name}, seed {seed}"))
        self._say_again(unit, again)
        for piece, _ in pieces:
            if piece.jobs:
                found.pieces.append(piece)

    def _told(self, said: Fields) -> list[str]:
        """Return the digest of what records would say, by encoder: of its own digest and of ``said`` about the task."""
        text = canonical(said)  # once for all encoders
        return [hashlib.sha256(b'["%b",%b]' % (own.encode(), text)).hexdigest() for own in self._told_of]

    def _pieces(
        self,
        unit: Unit,
        train: Examples,
        tests: dict[str, Examples],
        parts: Parts,
        layer: str,
        found: Plan,
    ) -> list[tuple[Piece, Sequence[int]]]:
        """Return the unit's pieces and the seeds of each: one for all labels, and one for each draw of a part of them.

        Where no head trains on all of train, only the images that some head trains on are encoded.
        """
        rows: dict[tuple[Budget, int], np.ndarray] = {}
        task, n_all, budgets = unit.trains, len(train), self._budgets(unit)
        for budget in budgets:
            if budget.is_whole:
                continue
            with Guard(f"{task.name}, {budget}", found.failures, self.progress):
                for seed in range(self._n_seeds(budget)):
                    rows[budget, seed] = labelled.rows(
                        parts.target, train.targets, budget, n=n_all, seed=seed, names=task.class_names
                    )
        pieces: list[tuple[Piece, Sequence[int]]] = []
        if WHOLE in budgets:
            pieces.append((Piece(unit, train, tests, {}, parts, layer), range(self._n_seeds(WHOLE))))
        elif rows:
            used = np.unique(np.concatenate(list(rows.values())))
            train = train.subset(used).with_own_images()
            rows = {key: np.searchsorted(used, chosen) for key, chosen in rows.items()}
        for (budget, seed), chosen in rows.items():
            few = replace(train.subset(chosen), validation=None)  # its labels are none of the budget's
            pieces.append((Piece(unit, few, tests, {}, parts, layer, budget), [seed]))
        return pieces

    def _say_again(self, unit: Unit, again: Sequence[tuple[str, str]]) -> None:
        for why, n in Counter(why for why, _ in again).items():
            first = next(name for reason, name in again if reason == why)
            more = f" and {n - 1} more" if n > 1 else ""
            self.progress.note(f"{unit.trains.name}: computed again for {first}{more}: {why}")

    def _why_not(self, job: Job, said: Fields, told: str, now: Fields, rows: dict[Job, dict[str, Any]]) -> str | None:
        """Return None if the job's record is there and is what would be computed now; else why not ("" if there is none).

        ``said`` is the part about the task that a record would have now, ``told`` the digest of all that it would say. The
        row of a record that is there is put among ``rows``.
        """
        path = self.path(job)
        try:
            record = self.store.load(path, is_renamed=True)
        except FileNotFoundError:
            return ""
        except RecordError as error:
            return str(error)
        if record["schema"] == FIRST_SCHEMA:
            self._n_old += 1
            return ""
        if "fingerprint" not in record:
            return "its record does not say what it was computed from"
        if record["fingerprint"]["sha256"] != now["sha256"]:
            return "; ".join(prints.differences(record["fingerprint"], now)[:3]) or "its fingerprint was altered"
        renewed = self.about.renewed(record, self._said_of[job.encoder], said)
        if renewed is not None:
            self.store.relabel(path, renewed)
        rows[job] = columns.row(renewed or record)
        if renewed is None:
            self._remembered[job.encoder].keep(self._place(job), now["sha256"], told, rows[job])
        return None

    def _now(self, trains: Task, scored: Task, data: Fields, job: Job) -> Fields:
        encoder = self.encoders[job.encoder]
        return fingerprint_now(encoder, data, trains, scored, self.probe, self.options, job.seed, job.budget)

    def _agrees_but_for_data(self, unit: Unit, job: Job) -> bool:
        record = self.store.read(self.path(job))
        if record is None or "fingerprint" not in record:
            return False
        task = next(task for task in unit.scores if task.name == job.task)
        now = self._now(unit.trains, task, record["fingerprint"]["data"], job)
        return bool(record["fingerprint"]["sha256"] == now["sha256"])


def record_name(probe: Probe, options: RunOptions, budget: Budget) -> str:
    """Return the name that the records of a probe carry: with the departures from the protocol, if there are any."""
    return probe_name(probe.name, {**options.overrides(), **budget.overrides()})
