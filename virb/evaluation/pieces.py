"""Run pieces: encode their images, train the heads that share them, and write one record a job."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import virb
from virb import probes
from virb.contracts.examples import DataContext, Examples
from virb.contracts.metric import State
from virb.contracts.options import RunOptions
from virb.contracts.task import Protocol, Task
from virb.errors import DataError, VirbError
from virb.evaluation import checks
from virb.evaluation.about import About
from virb.evaluation.grid import Failure, Job, Piece, effective
from virb.evaluation.guard import Guard, StoppedError, is_out_of_memory
from virb.evaluation.parts import parts_of
from virb.evaluation.stages import Encoding, check_finite, make_ready
from virb.features.cache import FeatureCache, Features
from virb.networks.encoder import FrozenEncoder
from virb.probes import Probe, dense, image_level
from virb.records.store import ResultStore, probe_name
from virb.system import devices
from virb.system.progress import Progress
from virb.system.threads import core_pool, n_cores

MOST_DECODERS = 32  # threads; beyond, they wait for the interpreter


@dataclass(frozen=True)
class _Member:
    """A head of a group that trains as one problem."""

    piece: Piece
    encoder: int
    seed: int
    encode_s: float

    @property
    def tasks(self) -> list[Task]:
        return self.piece.jobs[self.encoder, self.seed]


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
        self.label = probe_name(probe.name, options.overrides())
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
        self.failures: list[Failure] = []
        self.n_run = 0

    def run(self, pieces: Sequence[Piece], failures: list[Failure]) -> int:
        """Run the pieces' jobs and return how many have a record now; what fails is added to ``failures``."""
        self.failures = failures
        self.progress.set_jobs(sum(piece.n_jobs for piece in pieces))
        ready = []
        for piece in pieces:
            with self._guard(piece.unit.trains.name):
                make_ready(piece, self.options, self.progress)
                self._drop(piece, self.encoding.unfit(piece))
                ready.append(piece)
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
        self.cache.trim()  # what this run held is free to go now
        return self.n_run

    def _drop(self, piece: Piece, failed: Mapping[int, Failure]) -> None:
        """Take the jobs of encoders that cannot do a task out of its piece."""
        for found in failed.values():
            self.failures.append(found)
            self.progress.note(f"{found.what}: FAILED: {found.reason}")
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
            is_alone = piece.unit.trains.category.is_pixelwise or self.probe is not probes.GRADIENT
            twins = None if is_alone else next((group for group in groups if group[0].is_twin(piece)), None)
            if twins is None:
                groups.append([piece])
            else:
                twins.append(piece)
        return groups

    def _run_problem(self, together: Sequence[Piece], everything: Sequence[Piece]) -> None:
        features: dict[tuple[int, str], Features | None] = {}
        members: list[_Member] = []
        for piece in together:
            task = piece.unit.trains
            with self._guard(task.name):
                begun = time.monotonic()
                # On crops, or where it trains itself, the encoder runs anew in each epoch: there is nothing to keep.
                if task.protocol.crop is None and self.probe.is_frozen:
                    found, failed = self.encoding.encode(piece, everything)
                    features |= found
                    self._drop(piece, failed)
                encode_s = (time.monotonic() - begun) / max(1, len(piece.encoders))
                members += [_Member(piece, encoder, seed, encode_s) for encoder, seed in piece.jobs]
        if not together[0].unit.trains.category.is_pixelwise:
            self._run_image_level(members, features)
            return
        for member in members:
            self._submit(self._name(member), partial(self._run_dense, member, features))

    def _name(self, member: _Member) -> str:
        return f"{self.encoders[member.encoder].name} on {member.piece.unit.trains.name}, seed {member.seed}"

    def _run_image_level(self, members: Sequence[_Member], features: Mapping[tuple[int, str], Features | None]) -> None:
        by_dim: dict[int, list[_Member]] = {}
        for member in members:
            e = self.encoders[member.encoder]
            with self._guard(self._name(member)):
                for split in member.piece.splits if self.probe.is_frozen else ():
                    found = features[member.encoder, split.images.digest]
                    assert found is not None
                    check_finite(e.name, found.embedding, split)
                by_dim.setdefault(e.dim, []).append(member)
        # Heads of one shape train as one problem; the other probes are fitted one by one.
        groups = list(by_dim.values())
        if self.probe is not probes.GRADIENT:
            groups = [[member] for group in groups for member in group]
        if not groups:
            return
        piece = members[0].piece
        task = piece.unit.trains

        def source(encoder: int, split: Examples) -> image_level.Source:
            found = features.get((encoder, split.images.digest))
            return image_level.Source(self.encoders[encoder], split.images, None if found is None else found.embedding)

        def score(scores: np.ndarray, targets: np.ndarray) -> float:
            state = piece.parts.new_state()
            state.update(scores, targets)
            return float(state.score)

        problem = image_level.Problem(
            frames=piece.train.frames,
            targets=np.asarray(piece.train.targets),
            n_classes=task.n_classes,
            augmentations=task.label_preserving,
            head=piece.parts.head,
            loss=piece.parts.loss,
            build_head=piece.parts.build_head,
            score=score,
        )

        def run(group: Sequence[_Member]) -> None:
            started = time.monotonic()
            what = f"{task.name}: {len(group)} head{'s' * (len(group) > 1)}"
            if self.probe is not probes.GRADIENT:
                what = f"{task.name}: {self.probe.name}, {self.encoders[group[0].encoder].name}, seed {group[0].seed}"
            is_too_large = False
            with self._stage(what) as advance:
                try:
                    fitted = image_level.fit(
                        self.probe.name,
                        problem,
                        [
                            image_level.Setup(
                                source(member.encoder, piece.train),
                                member.seed,
                                self._protocol(member.piece.unit.trains),
                            )
                            for member in group
                        ],
                        device=self.device,
                        progress=advance,
                    )
                except (StoppedError, DataError):
                    raise
                except Exception as error:
                    if len(group) == 1:
                        raise
                    fitted, is_too_large = [], is_out_of_memory(error)
                train_s = (time.monotonic() - started) / len(group)
                for member, classifier in zip(group, fitted, strict=False):
                    with self._guard(self._name(member)):
                        for scored in member.tasks:
                            test = member.piece.tests[scored.name]
                            since = time.monotonic()
                            metric = parts_of(scored).new_state()
                            _score(metric, classifier, source(member.encoder, test), test, advance)
                            seconds = {"train": train_s, "predict": time.monotonic() - since}
                            self._write(member, scored, metric, seconds, classifier.protocol)
            if not fitted:
                if is_too_large:
                    self._release_networks()
                for member in group:  # one bad head must not take the others along: try them one at a time
                    with self._guard(self._name(member)):
                        run([member])

        for group in groups:
            self._submit(self._name(group[0]) if len(group) == 1 else task.name, partial(run, group))

    def _run_dense(self, member: _Member, features: Mapping[tuple[int, str], Features | None]) -> None:
        piece, seed, e = member.piece, member.seed, self.encoders[member.encoder]
        task = piece.unit.trains
        protocol = self._protocol(task)
        is_cropped = protocol.crop is not None
        ignore_index = piece.parts.ignore_index

        def source(split: Examples) -> dense.Source:
            found = features.get((member.encoder, split.images.digest))
            if is_cropped and split is not piece.train:
                return dense.WholeSource(e, piece.layer, split)
            if is_cropped:
                assert ignore_index is not None
                return dense.CropSource(e, piece.layer, split, protocol=protocol, seed=seed, ignore_index=ignore_index)
            if found is None:
                return dense.ComputedSource(e, piece.layer, split)
            return dense.CachedSource(found.parts, split, size=e.preprocess.size, device=self.device)

        started = time.monotonic()
        with self._stage(f"{task.name}: {e.name}, seed {seed}") as advance:
            head = dense.train_dense_head(
                partial(piece.parts.build_head, e),
                source(piece.train),
                piece.train.targets,
                loss=piece.parts.loss,
                target=piece.parts.target,
                seed=seed,
                protocol=protocol,
                ignore_index=ignore_index,
                device=self.device,
                dtype=e.dtype,
                progress=advance,
            )
        train_s = time.monotonic() - started
        for other in member.tasks:
            test = piece.tests[other.name]
            since = time.monotonic()
            metric = parts_of(other).new_state()
            reader = source(test)
            step = 1 if is_cropped else 32
            for start in range(0, len(test), step):
                rows = np.arange(start, min(start + step, len(test)))
                metric.update(*dense.predict_dense(head, reader, rows, dtype=e.dtype))
            seconds = {"train": train_s, "predict": time.monotonic() - since}
            self._write(member, other, metric, seconds, image_level.training(protocol))

    def _write(
        self,
        member: _Member,
        task: Task,
        metric: State,
        seconds: Mapping[str, float],
        protocol: Mapping[str, Any],
    ) -> None:
        e, piece = self.encoders[member.encoder], member.piece
        test = piece.tests[task.name]
        metrics = metric.compute()
        per_class = metric.per_class()
        names = task.class_names
        record = {
            "encoder": self.about.encoder(e),
            "task": self.about.task(task),
            "probe": self.label,
            "seed": member.seed,
            "score": metric.score,
            "metrics": metrics,
            "per_class": None if per_class is None else dict(zip(names, [_number(v) for v in per_class], strict=True)),
            "n_train": len(piece.train),
            "n_test": len(test),
            "files": checks.account(piece.train, test),
            "overrides": self.options.overrides(),
            "protocol": dict(protocol),
            "fingerprint": piece.fingerprints[Job(member.encoder, task.name, member.seed)],
            "seconds": {key: round(value, 3) for key, value in {"encode": member.encode_s, **seconds}.items()},
            "device": str(self.device),
            "ran_on": devices.describe(e.device, e.dtype if self.probe.is_frozen else torch.float32),
            "versions": _versions(),
        }
        if not np.isfinite(metric.score):
            raise VirbError(
                f"The score of {e.name} on {task.name}, seed {member.seed}, is {metric.score}; it is not recorded."
            )
        self.store.write(record, {"ids": np.asarray(list(test.ids)), **metric.per_example()})
        with self._lock:
            self.n_run += 1
            self.progress.job_done()


def _score(
    metric: State,
    classifier: image_level.Classifier,
    source: image_level.Source,
    test: Examples,
    progress: Callable[[int, int], None],
    block: int = 8192,
) -> None:
    """Give the metric the class scores a block of examples at a time: those of a large split are not all kept."""
    targets = np.asarray(test.targets)
    n_blocks = -(-len(test) // block)
    for k in range(n_blocks):
        rows = slice(k * block, (k + 1) * block)

        def report(done: int, total: int, k: int = k) -> None:
            progress(k * total + done, n_blocks * total)

        metric.update(classifier.scores(source, test.frames[rows], report), targets[rows])


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None  # an absent class has no accuracy


def _versions() -> dict[str, str]:
    return {
        "virb": virb.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
