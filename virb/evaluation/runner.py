"""Run jobs: read the data, encode each image set once, train the heads that share it, and write one record each."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

import virb
from virb import probes
from virb.contracts.examples import DataContext, Examples
from virb.contracts.metric import State
from virb.contracts.task import Protocol, Task
from virb.errors import DataAbsent, DataError, NoMemoryError, TrainingError, VirbError
from virb.evaluation.grid import Failure, Job, Overrides, Unit
from virb.evaluation.parts import Parts, parts_of
from virb.features.cache import FeatureCache, Features
from virb.images.corrupt import unreadable
from virb.networks.encoder import FrozenEncoder
from virb.probes import Probe, dense, image_level
from virb.records.store import ResultStore, probe_name
from virb.system import devices
from virb.system.mapped import Rows
from virb.system.progress import Progress
from virb.system.threads import core_pool, n_cores

BLOCK_BYTES = 8 << 20  # of features that are looked at together
MOST_DECODERS = 32  # threads; beyond, they wait for the interpreter


@dataclass
class _Loaded:
    """A unit with its data."""

    unit: Unit
    train: Examples
    tests: dict[str, Examples]
    jobs: dict[tuple[int, int], list[Task]]  # (encoder, seed) -> the tasks whose record is missing
    parts: Parts  # of the task that trains

    @property
    def layer(self) -> str:
        return self.parts.head.layer

    @property
    def encoders(self) -> list[int]:
        return sorted({encoder for encoder, _ in self.jobs})

    @property
    def splits(self) -> list[Examples]:
        return [self.train, *self.tests.values()]

    def is_twin(self, other: _Loaded) -> bool:
        """Whether the two are one problem but for the optimiser and its rate, as the settings of a grid are."""
        a, b = self.unit.trains, other.unit.trains
        return (
            (a.head, a.loss, a.metric, a.n_classes, a.n_frames) == (b.head, b.loss, b.metric, b.n_classes, b.n_frames)
            and a.options.keys() == b.options.keys()
            and all(np.array_equal(a.options[key], b.options[key]) for key in a.options)
            and replace(a.protocol, optimizer=b.protocol.optimizer, lr=b.protocol.lr) == b.protocol
            and self.train.images.digest == other.train.images.digest
            and np.array_equal(self.train.frames, other.train.frames)
            and np.array_equal(self.train.targets, other.train.targets)
        )


@dataclass(frozen=True)
class _Member:
    """A head of a group that trains as one problem."""

    item: _Loaded
    encoder: int
    seed: int
    encode_s: float

    @property
    def tasks(self) -> list[Task]:
        return self.item.jobs[self.encoder, self.seed]


class Runner:
    def __init__(
        self,
        encoders: Sequence[FrozenEncoder],
        store: ResultStore,
        context: DataContext,
        suites: Mapping[str, str],
        probe: Probe,
        overrides: Overrides,
        device: torch.device,
        cache_gb: float,
        progress: Progress,
        cache_limit_gb: float | None = None,
    ) -> None:
        self.encoders = encoders
        self.store = store
        self.context = context
        self.suites = suites
        self.probe = probe
        self.label = probe_name(probe.name, overrides.as_dict())
        self.overrides = overrides
        self.device = device
        self.progress = progress
        self.cache = FeatureCache(
            context.cache, n_workers=min(MOST_DECODERS, n_cores()), limit_gb=cache_limit_gb, note=progress.note
        )
        self.cache_bytes = min(cache_gb * 1e9, self.cache.limit_bytes)
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[None]] = []
        self._is_stopped = threading.Event()
        self._lock = threading.Lock()
        self.failures: list[Failure] = []
        self.left_out: list[Failure] = []
        self.n_run = 0

    def run(
        self,
        units: Sequence[Unit],
        missing: Sequence[Job],
        present: Mapping[Job, Mapping[str, Any]],
        failures: list[Failure],
        *,
        is_suite: bool = False,
    ) -> int:
        """Run the ``missing`` jobs and return how many have a record now.

        ``present`` are the records of jobs that need not run; those of tasks whose data have changed since are computed
        again, so that no table compares encoders on different images.
        """
        self.failures = failures
        self.progress.set_jobs(len(missing))
        loaded = []
        for unit in units:
            names = {task.name: task for task in unit.scores}
            jobs: dict[tuple[int, int], list[Task]] = {}
            for job in missing:
                if job.task in names:
                    jobs.setdefault((job.encoder, job.seed), []).append(names[job.task])
            if not jobs:
                continue
            with self._guard(unit.trains.name):
                try:
                    item = self._load(unit, jobs)
                    self._add_outdated(item, present)
                    loaded.append(item)
                except DataAbsent as error:
                    if not (is_suite and unit.trains.is_optional):
                        raise
                    self.left_out.append(Failure(unit.trains.name, str(error)))
                    self.progress.note(f"{unit.trains.name}: left out: {error}")
        # On CPU, heads train side by side on one core each while the next images are encoded; a GPU takes them in turn.
        with contextlib.ExitStack() as stack:
            if self.device.type == "cpu":
                self._pool = stack.enter_context(core_pool())
            try:
                for items in self._problems(loaded):
                    self._run_problem(items, loaded)
                for future in self._futures:
                    future.result()
            except BaseException:
                self._is_stopped.set()  # heads in training stop at their next step; the pool drops those that wait
                raise
        self._futures.clear()
        self.cache.trim()  # what this run held is free to go now
        return self.n_run

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
                    raise _StoppedError
                advance(done, total)

            yield report

    def _protocol(self, task: Task) -> Protocol:
        return self.overrides.protocol(self.probe.protocol or task.protocol)

    def _guard(self, what: str) -> _Guard:
        return _Guard(what, self.failures, self.progress)

    def _load(self, unit: Unit, jobs: dict[tuple[int, int], list[Task]]) -> _Loaded:
        task, parts = unit.trains, parts_of(unit.trains)
        with self.progress.stage(f"{task.name}: data") as advance:
            context = replace(
                self.context, limit=self.overrides.limit, progress=lambda _what, done, total: advance(done, total)
            )
            train = _checked(task, "train", task.examples(context, "train")).limited(self.overrides.limit)
            scored = {t.name: t for row in jobs.values() for t in row}
            tests = {
                name: _checked(t, "test", t.examples(context, "test")).limited(self.overrides.limit)
                for name, t in scored.items()
            }
        if self.overrides.skip_corrupt:
            train = self._readable(task, "train", train)
            tests = {name: self._readable(scored[name], "test", test) for name, test in tests.items()}
        self._note_incomplete(task, "train", len(train))
        for name, test in tests.items():
            self._note_incomplete(scored[name], "test", len(test))
        return _Loaded(unit, train, tests, jobs, parts)

    def _add_outdated(self, item: _Loaded, present: Mapping[Job, Mapping[str, Any]]) -> None:
        for job, record in present.items():
            test = item.tests.get(job.task)
            if test is None or record["data"] == _revisions(item.train, test):
                continue
            task = next(task for task in item.unit.scores if task.name == job.task)
            item.jobs.setdefault((job.encoder, job.seed), []).append(task)
            self.progress.note(
                f"{job.task}: the data have changed since {self.encoders[job.encoder].name} was scored; computed again"
            )

    def _readable(self, task: Task, split: str, examples: Examples) -> Examples:
        """Leave out the examples that cannot be read, and name them."""
        with self.progress.stage(f"{task.name}: read {split}") as advance:
            bad = unreadable(examples, is_dense=task.category.is_pixelwise, progress=advance)
        if not bad:
            return examples
        few = "; ".join(list(bad.values())[:5])
        self.progress.note(
            f"{task.name}: {len(bad):,} of {len(examples):,} examples of {split} are left out, as they cannot be read: "
            f"{few}{' ...' if len(bad) > 5 else ''}"
        )
        return examples.subset(np.setdiff1d(np.arange(len(examples)), list(bad))).with_own_images()

    def _note_incomplete(self, task: Task, split: str, n_found: int) -> None:
        """Say so where a split has not the examples that its task declares: the score is of something else."""
        expected = task.n_examples.get(split)
        if expected is not None and n_found != expected and self.overrides.limit is None:
            self.progress.note(
                f"{task.name}: {split} has {n_found:,} examples; expected {expected:,}. The score cannot be compared "
                "with "
                "those on the whole set. See: virb data status."
            )

    # ------------------------------------------------------------------------------------------------- features

    def _encode(
        self, item: _Loaded, everything: Sequence[_Loaded]
    ) -> tuple[dict[tuple[int, str], Features | None], set[int]]:
        """Encode this unit's images with its encoders, for all layers that any unit wants of them, in one pass a set.

        Returns the features by (encoder, image set's digest); None stands for a pyramid that is over the budget and
        will be computed when it is used. And the encoders that failed for want of memory.
        """
        features: dict[tuple[int, str], Features | None] = {}
        failed: set[int] = set()
        for images in {split.images.digest: split.images for split in item.splits}.values():
            uses = [
                (other, split)
                for other in everything
                for split in other.splits
                if split.images.digest == images.digest and other.unit.trains.protocol.crop is None
            ]
            upto = max(int(split.frames.max()) + 1 for _, split in uses)
            layers = sorted({other.layer for other, _ in uses})
            fits = [k for k in item.encoders if self._pyramid_bytes(k, upto, len(item.encoders)) <= self.cache_bytes]
            for members, wanted in (
                (fits, layers),
                ([k for k in item.encoders if k not in fits], [layer for layer in layers if layer == "embedding"]),
            ):
                if not members or not wanted:
                    continue
                what = f"{images.name}: encode with {len(members)} encoder{'s' * (len(members) > 1)}"
                members = [k for k in members if k not in failed]
                with self.progress.stage(what) as advance:
                    encode = partial(self.cache.encode, images=images, layers=wanted, upto=upto, progress=advance)
                    try:
                        rows = dict(zip(members, encode([self.encoders[k] for k in members]), strict=True))
                    except NoMemoryError:
                        rows = {}
                    for k in members if not rows else ():  # one at a time, so that one alone fails
                        self._release_networks()
                        with self._guard(f"{self.encoders[k].name} on {item.unit.trains.name}"):
                            (rows[k],) = encode([self.encoders[k]])
                failed |= set(members) - set(rows)
                for k, row in rows.items():
                    features[k, images.digest] = row.get(item.layer)
        return features, failed

    def _release_networks(self) -> None:
        for encoder in self.encoders:
            encoder.release_network()
        devices.free_memory(self.device)

    def _pyramid_bytes(self, encoder: int, n_images: int, n_encoders: int) -> float:
        e = self.encoders[encoder]
        cells = sum(c * (-(-e.preprocess.size // s)) ** 2 for c, s in zip(e.channels, e.strides, strict=True))
        return 2.0 * cells * n_images * n_encoders

    # ---------------------------------------------------------------------------------------------------- heads

    def _problems(self, loaded: Sequence[_Loaded]) -> list[list[_Loaded]]:
        """Put together what trains as one problem: the settings of a grid. Most often each is alone."""
        groups: list[list[_Loaded]] = []
        for item in loaded:
            is_alone = item.unit.trains.category.is_pixelwise or self.probe is not probes.GRADIENT
            twins = None if is_alone else next((group for group in groups if group[0].is_twin(item)), None)
            if twins is None:
                groups.append([item])
            else:
                twins.append(item)
        return groups

    def _run_problem(self, items: Sequence[_Loaded], everything: Sequence[_Loaded]) -> None:
        features: dict[tuple[int, str], Features | None] = {}
        members: list[_Member] = []
        for item in items:
            task, failed = item.unit.trains, set[int]()
            with self._guard(task.name):
                begun = time.monotonic()
                # On crops, or where it trains itself, the encoder runs anew in each epoch: there is nothing to keep.
                if task.protocol.crop is None and self.probe.is_frozen:
                    found, failed = self._encode(item, everything)
                    features |= found
                encode_s = (time.monotonic() - begun) / len(item.encoders)
                jobs = [(encoder, seed) for encoder, seed in item.jobs if encoder not in failed]
                members += [_Member(item, encoder, seed, encode_s) for encoder, seed in jobs]
        if not items[0].unit.trains.category.is_pixelwise:
            self._run_image_level(members, features)
            return
        for member in members:
            self._submit(self._name(member), partial(self._run_dense, member, features))

    def _name(self, member: _Member) -> str:
        return f"{self.encoders[member.encoder].name} on {member.item.unit.trains.name}, seed {member.seed}"

    def _run_image_level(self, members: Sequence[_Member], features: Mapping[tuple[int, str], Features | None]) -> None:
        by_dim: dict[int, list[_Member]] = {}
        for member in members:
            e = self.encoders[member.encoder]
            with self._guard(self._name(member)):
                for split in member.item.splits if self.probe.is_frozen else ():
                    found = features[member.encoder, split.images.digest]
                    assert found is not None
                    _check_finite(e.name, found.embedding, split)
                by_dim.setdefault(e.dim, []).append(member)
        # Heads of one shape train as one problem; the other probes are fitted one by one.
        groups = list(by_dim.values())
        if self.probe is not probes.GRADIENT:
            groups = [[member] for group in groups for member in group]
        if not groups:
            return
        item = members[0].item
        task = item.unit.trains

        def source(encoder: int, split: Examples) -> image_level.Source:
            found = features.get((encoder, split.images.digest))
            return image_level.Source(self.encoders[encoder], split.images, None if found is None else found.embedding)

        def score(scores: np.ndarray, targets: np.ndarray) -> float:
            state = item.parts.new_state()
            state.update(scores, targets)
            return float(state.score)

        problem = image_level.Problem(
            frames=item.train.frames,
            targets=np.asarray(item.train.targets),
            n_classes=task.n_classes,
            augmentations=task.label_preserving,
            head=item.parts.head,
            loss=item.parts.loss,
            build_head=item.parts.build_head,
            score=score,
        )

        def run(group: Sequence[_Member]) -> None:
            started = time.monotonic()
            what = f"{task.name}: {len(group)} head{'s' * (len(group) > 1)}"
            if self.probe is not probes.GRADIENT:
                what = f"{task.name}: {self.probe.name}, {self.encoders[group[0].encoder].name}, seed {group[0].seed}"
            with self._stage(what) as advance:
                try:
                    fitted = image_level.fit(
                        self.probe.name,
                        problem,
                        [
                            image_level.Setup(
                                source(member.encoder, item.train),
                                member.seed,
                                self._protocol(member.item.unit.trains),
                            )
                            for member in group
                        ],
                        device=self.device,
                        progress=advance,
                    )
                except TrainingError:
                    if len(group) == 1:
                        raise
                    fitted = []
                train_s = (time.monotonic() - started) / len(group)
                for member, classifier in zip(group, fitted, strict=False):
                    with self._guard(self._name(member)):
                        for scored in member.tasks:
                            test = member.item.tests[scored.name]
                            since = time.monotonic()
                            metric = parts_of(scored).new_state()
                            _score(metric, classifier, source(member.encoder, test), test, advance)
                            seconds = {"train": train_s, "predict": time.monotonic() - since}
                            self._write(member, scored, metric, seconds, classifier.protocol)
            if not fitted:
                for member in group:  # one bad head must not take the others along: try them one at a time
                    with self._guard(self._name(member)):
                        run([member])

        for group in groups:
            self._submit(self._name(group[0]) if len(group) == 1 else task.name, partial(run, group))

    def _run_dense(self, member: _Member, features: Mapping[tuple[int, str], Features | None]) -> None:
        item, seed, e = member.item, member.seed, self.encoders[member.encoder]
        task = item.unit.trains
        protocol = self._protocol(task)
        is_cropped = protocol.crop is not None
        ignore_index = item.parts.ignore_index

        def source(split: Examples) -> dense.Source:
            found = features.get((member.encoder, split.images.digest))
            if is_cropped and split is not item.train:
                return dense.WholeSource(e, item.layer, split)
            if is_cropped:
                assert ignore_index is not None
                return dense.CropSource(e, item.layer, split, protocol=protocol, seed=seed, ignore_index=ignore_index)
            if found is None:
                return dense.ComputedSource(e, item.layer, split)
            return dense.CachedSource(found.parts, split, size=e.preprocess.size, device=self.device)

        started = time.monotonic()
        with self._stage(f"{task.name}: {e.name}, seed {seed}") as advance:
            head = dense.train_dense_head(
                partial(item.parts.build_head, e),
                source(item.train),
                item.train.targets,
                loss=item.parts.loss,
                target=item.parts.target,
                seed=seed,
                protocol=protocol,
                ignore_index=ignore_index,
                device=self.device,
                progress=advance,
            )
        train_s = time.monotonic() - started
        for other in member.tasks:
            test = item.tests[other.name]
            since = time.monotonic()
            metric = parts_of(other).new_state()
            reader = source(test)
            step = 1 if is_cropped else 32
            for start in range(0, len(test), step):
                rows = np.arange(start, min(start + step, len(test)))
                metric.update(*dense.predict_dense(head, reader, rows))
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
        e, item = self.encoders[member.encoder], member.item
        test = item.tests[task.name]
        metrics = metric.compute()
        per_class = metric.per_class()
        names = task.class_names
        record = {
            "encoder": {
                "name": e.name,
                "sha256": e.identity,
                "weights_sha256": e.sha256,
                "arch": e.arch,
                "meta": dict(e.meta),
            },
            "task": {
                "name": task.name,
                "version": task.version,
                "category": task.category.value,
                "metric": task.metric,
                "suite": self.suites.get(task.name, ""),
                "head": task.head,
            },
            "probe": self.label,
            "seed": member.seed,
            "score": metric.score,
            "metrics": metrics,
            "per_class": None if per_class is None else dict(zip(names, [_number(v) for v in per_class], strict=True)),
            "n_train": len(item.train),
            "n_test": len(test),
            "overrides": self.overrides.as_dict(),
            "protocol": dict(protocol),
            "data": _revisions(item.train, test),
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


class _StoppedError(Exception):
    """The run was stopped; a head in training ends without a record."""


class _Guard:
    """A block whose errors become a failure and a line, so that the other jobs go on."""

    def __init__(self, what: str, failures: list[Failure], progress: Progress) -> None:
        self.what = what
        self.failures = failures
        self.progress = progress

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        if error is None or not isinstance(error, Exception):
            return False  # KeyboardInterrupt and SystemExit end the run
        if isinstance(error, _StoppedError):
            return True
        if isinstance(error, VirbError):
            self.failures.append(Failure(self.what, str(error)))
        else:
            reason = f"{type(error).__name__}: {error}"
            self.failures.append(Failure(self.what, reason, "".join(traceback.format_exception(error))))
        self.progress.note(f"{self.what}: FAILED: {self.failures[-1].reason}")
        return True


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


def _checked(task: Task, split: str, examples: Examples) -> Examples:
    """Return ``examples`` if they are what the task declares.

    Raises:
        DataError: another number of frames, or labels outside the classes.
    """
    if examples.n_frames != task.n_frames:
        raise DataError(
            f"{task.name}/{split}: examples have {examples.n_frames} frames; the task declares {task.n_frames}."
        )
    if not task.category.is_pixelwise:
        labels = np.asarray(examples.targets)
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"{task.name}/{split}: targets must be integers (N,); found {labels.dtype} {labels.shape}.")
        wrong = np.flatnonzero((labels < 0) | (labels >= task.n_classes))
        if len(wrong):
            first = int(wrong[0])
            raise DataError(
                f"{task.name}/{split}: {len(wrong)} labels lie outside 0..{task.n_classes - 1}; the first is "
                f"{labels[first]} of {examples.ids[first]} "
                f"({examples.images.describe(int(examples.frames[first, 0]))})."
            )
    return examples


def _check_finite(encoder: str, embedding: np.ndarray, split: Examples) -> None:
    rows, source = np.unique(split.frames), Rows(embedding)
    block = max(1, BLOCK_BYTES // (embedding.shape[1] * embedding.itemsize))
    for start in range(0, len(rows), block):
        chosen = rows[start : start + block]
        bad = chosen[~np.isfinite(source.take(chosen)).all(axis=1)]
        if len(bad):
            raise VirbError(
                f"The embedding that {encoder} gives to {split.images.describe(int(bad[0]))} is not finite. "
                "The weights may be damaged, or overflow in half precision."
            )


def _revisions(train: Examples, test: Examples) -> dict[str, str]:
    return {"train": train.images.digest, "test": test.images.digest}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None  # an absent class has no accuracy


def _versions() -> dict[str, str]:
    return {
        "virb": virb.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
