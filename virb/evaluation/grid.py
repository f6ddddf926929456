"""The grid of jobs (encoder x task x seed) and what became of them. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from virb.contracts.budget import WHOLE, Budget
from virb.contracts.examples import Examples
from virb.contracts.executor import Failure
from virb.contracts.options import RunOptions
from virb.contracts.probe import OWN_OPTIONS, TRAINING_OPTIONS, Probe
from virb.contracts.task import Protocol, Task

if TYPE_CHECKING:
    from virb.evaluation.parts import Parts
    from virb.records.fingerprint import Fields

__all__ = ["Failure", "Job", "Piece", "Unit", "effective"]


class Job(NamedTuple):
    """One head to train: which encoder (by its place in the list), which task, which seed, on how many labels."""

    encoder: int
    task: str
    seed: int
    budget: Budget = WHOLE


@dataclass(frozen=True)
class Unit:
    """A task that trains heads, and the tasks whose test splits those heads are scored on (itself, if asked for)."""

    trains: Task
    scores: tuple[Task, ...]


@dataclass
class Piece:
    """Jobs that run together: those of one unit, with its data; of a part of the labels, those of one draw.

    Attributes:
        train: what heads train on, which may be a part of the split.
        tests: the test split of every task that is scored.
        jobs: (encoder, seed) -> the tasks whose record is missing.
        parts: of the task that trains.
        fingerprints: of these jobs.
    """

    unit: Unit
    train: Examples
    tests: dict[str, Examples]
    jobs: dict[tuple[int, int], list[Task]]
    parts: Parts
    layer: str  # which features of an encoder the probe reads
    budget: Budget = WHOLE
    fingerprints: dict[Job, Fields] = field(default_factory=dict)

    @property
    def what(self) -> str:
        return self.unit.trains.name if self.budget.is_whole else f"{self.unit.trains.name}, {self.budget}"

    @property
    def encoders(self) -> list[int]:
        return sorted({encoder for encoder, _ in self.jobs})

    @property
    def splits(self) -> list[Examples]:
        return [self.train, *self.tests.values()]

    @property
    def n_jobs(self) -> int:
        return sum(map(len, self.jobs.values()))

    def is_twin(self, other: Piece) -> bool:
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


def effective(protocol: Protocol, options: RunOptions) -> Protocol:
    """Return ``protocol`` with what ``options`` say instead; epochs that are asked for end its steps."""
    said: dict[str, Any] = {name: value for name in TRAINING_OPTIONS if (value := getattr(options, name)) is not None}
    if "epochs" in said:
        said["steps"] = None
    return replace(protocol, **said)


def holds_out(probe: Probe, options: RunOptions) -> bool:
    """Whether the probe chooses something on train: always, or as one of its settings is "auto"."""
    return probe.holds_out or "auto" in own_options(probe, options).values()


def own_options(probe: Probe, options: RunOptions) -> dict[str, Any]:
    """Return the settings of the probe's own that ``options`` say."""
    names = [name for name in OWN_OPTIONS if name in probe.options]
    return {name: value for name in names if (value := getattr(options, name)) is not None}
