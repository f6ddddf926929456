"""Run pieces: encode their images, train the heads that share them, and write one record a job."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch

import virb
from virb import probes
from virb.contracts.examples import DataContext
from virb.contracts.metric import State
from virb.contracts.options import RunOptions
from virb.contracts.probe import Predictor, Probe, Setup
from virb.contracts.task import Protocol, Task
from virb.errors import DataError, VirbError
from virb.evaluation import checks, levels
from virb.evaluation.about import About
from virb.evaluation.blind import blind_score
from virb.evaluation.grid import Failure, Job, Piece, effective, own_options
from virb.evaluation.guard import Guard, StoppedError, is_out_of_memory
from virb.evaluation.parts import parts_of
from virb.evaluation.plan import record_name
from virb.evaluation.reading import Member, Reading
from virb.evaluation.scoring import score
from virb.evaluation.shown import Shown
from virb.evaluation.stages import Encoding, Found, check_finite, make_ready
from virb.features.cache import FeatureCache
from virb.networks.encoder import FrozenEncoder
from virb.records.store import ResultStore
from virb.system import devices
from virb.system.commit import commit
from virb.system.progress import Progress
from virb.system.threads import core_pool, n_cores
from virb.training import curves

MOST_DECODERS = 32  # threads; more of them only wait for Python's lock


class Runner:
    """Runs the pieces of a plan on this machine."""

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
        self.about = about
        self.probe = probe
        self.options = options
        self.device = encoders[0].device
        self.progress = progress
        self.cache = FeatureCache(
            context.cache,
            n_workers=min(MOST_DECODERS, n_cores()),
            limit_gb=options.cache_limit_gb,
            note=progress.note,
        )
        self.encoding = Encoding(encoders, self.cache, min(options.cache_gb * 1e9, self.cache.limit_bytes), progress)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[None]] = []
        self._is_stopped = threading.Event()
        self._lock = threading.Lock()
        self._lock_of_blind = threading.Lock()
        self._blind: dict[tuple[int, str], dict[str, Any] | None] = {}
        self.failures: list[Failure] = []
        self.n_run = 0
        self._reading = Reading(encoders, self._protocol)

    def run(self, pieces: Sequence[Piece], failures: list[Failure]) -> int:
        """Run the pieces' jobs and return how many have a record now; what fails is added to ``failures``."""
        self.failures = failures
        ready = []
        for piece in pieces:
            with self._guard(piece.unit.trains.name):
                make_ready(piece, self.options, self.progress)
                self._drop(piece, self.encoding.unfit(piece))
                ready.append(piece)
        work = sum(_n_images(piece) * (len(piece.encoders) + piece.n_jobs) for piece in ready)
        self.progress.set_jobs(sum(piece.n_jobs for piece in pieces), work=work)
        # On CPU, heads train side by side on one core each while the next images are encoded; a GPU takes them in turn.
        with contextlib.ExitStack() as stack:
            if self.device.type == "cpu":
                self._pool = stack.enter_context(core_pool())
            try:
                for together in self._problems([piece for piece in ready if piece.jobs]):
                    self._run_problem(together, ready)
                for future in self._futures:
                    future.result()
            except BaseException:
                self._is_stopped.set()  # heads in training stop at their next step; the pool drops those that wait
                raise
        self._futures.clear()
        self._reading.close()
        self.cache.trim()  # what this run held is free to go now
        return self.n_run

    def _drop(self, piece: Piece, failed: Mapping[int, Failure]) -> None:
        """Take the jobs of encoders that cannot do a task out of its piece."""
        for found in failed.values():
            self.failures.append(found)
            self.progress.note(found.line)
        piece.jobs = {key: tasks for key, tasks in piece.jobs.items() if key[0] not in failed}

    def _submit(self, what: str, job: Callable[[], None]) -> None:
        def guarded() -> None:
            with self._guard(what):
                job()

        if self._pool is None:
            guarded()
        else:
            self._futures.append(self._pool.submit(guarded))

    @contextlib.contextmanager
    def _stage(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A progress stage whose reports end the job once the run is stopped."""
        with self.progress.stage(what) as advance:

            def report(done: int, total: int) -> None:
                if self._is_stopped.is_set():
                    raise StoppedError
                advance(done, total)

            yield report

    def _protocol(self, task: Task) -> Protocol:
        return effective(self.probe.protocol or task.protocol, self.options)

    def _release_networks(self) -> None:
        for encoder in self.encoders:
            encoder.release_network()
        devices.free_memory(self.device)

    def _guard(self, what: str) -> Guard:
        return Guard(what, self.failures, self.progress)

    def _problems(self, pieces: Sequence[Piece]) -> list[list[Piece]]:
        """Put together what trains as one problem: the settings of a grid. Most often each is alone."""
        groups: list[list[Piece]] = []
        for piece in pieces:
            may_join = self.probe.together and not piece.parts.is_pixelwise
            twins = next((group for group in groups if group[0].is_twin(piece)), None) if may_join else None
            if twins is None:
                groups.append([piece])
            else:
                twins.append(piece)
        return groups

    def _run_problem(self, together: Sequence[Piece], everything: Sequence[Piece]) -> None:
        features: Found = {}
        members: list[Member] = []
        for piece in together:
            task, n_encoders = piece.unit.trains, len(piece.encoders)
            with self._guard(task.name):
                begun = time.monotonic()
                # On crops, or where it trains itself, the encoder runs anew in each epoch: there is nothing to keep.
                if task.protocol.crop is None and self.probe.is_frozen:
                    found, failed = self.encoding.encode(piece, everything)
                    features |= found
                    self._drop(piece, failed)
                self.progress.work_done(_n_images(piece) * n_encoders)
                encode_s = (time.monotonic() - begun) / max(1, len(piece.encoders))
                members += [Member(piece, encoder, seed, encode_s) for encoder, seed in piece.jobs]
        for group in self._groups(members, features):
            what = self._name(group[0]) if len(group) == 1 else group[0].piece.unit.trains.name
            self._submit(what, partial(self._run_group, group, features))

    def _name(self, member: Member) -> str:
        return f"{self.encoders[member.encoder].name} on {member.piece.what}, seed {member.seed}"

    def _groups(self, members: Sequence[Member], features: Found) -> list[list[Member]]:
        """Heads of one shape train as one problem, where the probe trains them so; all others are fitted one by one."""
        groups: dict[Any, list[Member]] = {}
        for member in members:
            is_pixelwise = member.piece.parts.is_pixelwise
            with self._guard(self._name(member)):
                shape: Any = self._reading.shape_of_maps(member) if is_pixelwise else None
                for split in member.piece.splits if self.probe.is_frozen and not is_pixelwise else ():
                    rows = self._reading.source(member, split, features).features
                    check_finite(self.encoders[member.encoder].name, rows, split)
                    shape = rows.shape[1]
                is_together = self.probe.maps_together if is_pixelwise else self.probe.together
                groups.setdefault(shape if is_together else id(member), []).append(member)
        if self._pool is None or not self.probe.maps_together:
            return list(groups.values())
        # One group trains on one core: on a CPU there are to be as many as cores.
        return [
            part
            for group in groups.values()
            for k in range(n_cores())
            if (part := group[k * len(group) // n_cores() : (k + 1) * len(group) // n_cores()])
        ]

    def _run_group(self, group: Sequence[Member], features: Found) -> None:
        """Fit the probe for members that share a problem, and score what was fitted."""
        piece = group[0].piece
        task = piece.unit.trains
        started = time.monotonic()
        if self.probe.maps_together if piece.parts.is_pixelwise else self.probe.together:
            what = f"{piece.what}: {len(group)} head{'s' * (len(group) > 1)}"
        else:
            which = "" if self.probe.trains_head else f"{self.probe.name}, "
            what = f"{piece.what}: {which}{self.encoders[group[0].encoder].name}, seed {group[0].seed}"
        is_too_large = False
        fitted: list[Predictor] = []
        with self._stage(what) as advance:
            try:
                setups = [
                    Setup(
                        self._reading.source(member, piece.train, features),
                        member.seed,
                        self._protocol(member.piece.unit.trains),
                        own_options(self.probe, self.options),
                    )
                    for member in group
                ]
                fitted = probes.fit(
                    self.probe, piece.parts.problem(piece.train), setups, device=self.device, progress=advance
                )
            except (StoppedError, DataError):
                raise
            except Exception as error:
                if len(group) == 1:
                    raise
                is_too_large = is_out_of_memory(error)
            train_s = (time.monotonic() - started) / len(group)
            for member, predictor in zip(group, fitted, strict=False):
                with self._guard(self._name(member)):
                    for scored in member.tasks:
                        test = member.piece.tests[scored.name]
                        since = time.monotonic()
                        state = parts_of(scored).new_state()
                        shown = Shown(parts_of(scored), test) if piece.parts.is_pixelwise else None
                        step = 8192 if shown is None else 1 if task.protocol.crop is not None else 32
                        score(
                            state, predictor, self._reading.source(member, test, features), test, advance, step, shown
                        )
                        seconds = {"train": train_s, "predict": time.monotonic() - since}
                        self._write(member, scored, state, seconds, predictor, shown)
        if not fitted:
            if is_too_large:
                self._release_networks()
            for member in group:  # one bad head must not take the others along: try them one at a time
                with self._guard(self._name(member)):
                    self._run_group([member], features)

    def _beside(self, piece: Piece, task: Task) -> dict[str, Any]:
        """Return what a prediction that looks at no image scores, computed once a task."""
        key = (id(piece), task.name)
        with self._lock_of_blind:
            if key not in self._blind:
                self._blind[key] = blind_score(parts_of(task), piece.train, piece.tests[task.name])
        found = self._blind[key]
        return {} if found is None else {"blind": found}

    def _write(
        self,
        member: Member,
        task: Task,
        metric: State,
        seconds: Mapping[str, float],
        predictor: Predictor,
        shown: Shown | None,
    ) -> None:
        e, piece = self.encoders[member.encoder], member.piece
        test = piece.tests[task.name]
        predictions = metric.per_example()
        metrics = {**metric.compute(), **levels.accuracies(predictions, test.tree)}
        per_class = metric.per_class()
        names = task.class_names
        record = {
            "encoder": self.about.encoder(e),
            "task": self.about.task(task),
            "probe": record_name(self.probe, self.options, piece.budget),
            "seed": member.seed,
            "score": metric.score,
            "metrics": metrics,
            **self._beside(piece, task),
            "per_class": None if per_class is None else dict(zip(names, [_number(v) for v in per_class], strict=True)),
            "n_train": len(piece.train),
            "n_test": len(test),
            "files": checks.account(piece.train, test),
            "overrides": {**self.options.overrides(), **piece.budget.overrides()},
            "protocol": {**piece.unit.trains.protocol.of_images, **predictor.protocol},
            "loss_by_epoch": curves.as_recorded(predictor.losses.items()),
            "fingerprint": piece.fingerprints[Job(member.encoder, task.name, member.seed, piece.budget)],
            "seconds": {key: round(value, 3) for key, value in {"encode": member.encode_s, **seconds}.items()},
            "device": str(self.device),
            "ran_on": devices.describe(e.device, e.dtype if self.probe.is_frozen else torch.float32),
            "versions": _versions(),
            "commit": commit(),
        }
        if not np.isfinite(metric.score):
            raise VirbError(
                f"The score of {e.name} on {task.name}, seed {member.seed}, is {metric.score}; it is not recorded."
            )
        kept = None if shown is None else shown.arrays
        self.store.write(record, {"ids": np.asarray(list(test.ids)), **predictions}, kept)
        with self._lock:
            self.n_run += 1
            self.progress.job_done()
            self.progress.work_done(_n_images(piece))


def _n_images(piece: Piece) -> int:
    """What a piece costs an encoder, and a head about as much: its examples."""
    return len(piece.train) + sum(map(len, piece.tests.values()))


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None  # an absent class has no accuracy


def _versions() -> dict[str, str]:
    return {
        "virb": virb.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
