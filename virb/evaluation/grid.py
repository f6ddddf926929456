"""The grid of jobs (encoder x task x seed), and departures from the protocol. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from virb.contracts.task import Protocol, Task


@dataclass(frozen=True)
class Job:
    """One head to train: which encoder (by its place in the list), which task, which seed."""

    encoder: int
    task: str
    seed: int


@dataclass(frozen=True)
class Failure:
    """A job, or all jobs of a task, that could not be done. ``details`` is a traceback where the cause is not ours."""

    what: str
    reason: str
    details: str = ""


@dataclass(frozen=True)
class Unit:
    """A task that trains heads, and the tasks whose test splits those heads are scored on (itself, if asked for)."""

    trains: Task
    scores: tuple[Task, ...]


@dataclass(frozen=True)
class Overrides:
    """Departures from the protocol; they become part of the probe's name in the records."""

    limit: int | None = None
    epochs: int | None = None
    skip_corrupt: bool = False
    optimizer: str | None = None
    lr: float | None = None
    dtype: str | None = None  # of the encoders' forward pass

    def as_dict(self) -> dict[str, int | float | str]:
        values: dict[str, int | float | str | None] = {
            "limit": self.limit,
            "epochs": self.epochs,
            "skip_corrupt": 1 if self.skip_corrupt else None,
            "optimizer": self.optimizer,
            "lr": self.lr,
            "dtype": self.dtype,
        }
        return {key: value for key, value in values.items() if value is not None}

    def protocol(self, protocol: Protocol) -> Protocol:
        return replace(
            protocol,
            epochs=protocol.epochs if self.epochs is None else self.epochs,
            optimizer=protocol.optimizer if self.optimizer is None else self.optimizer,
            lr=protocol.lr if self.lr is None else self.lr,
        )
