"""What an executor is: where jobs run. It is handed the work; how a job runs is none of its business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import os

    from virb.contracts.examples import DataContext
    from virb.contracts.options import RunOptions
    from virb.contracts.task import Task
    from virb.networks.encoder import FrozenEncoder


class Progress(Protocol):
    """What an executor tells a user (:class:`virb.system.progress.Progress`)."""

    def set_jobs(self, n: int) -> None: ...
    def job_done(self, n: int = 1) -> None: ...
    def note(self, text: str) -> None: ...
    def stage(self, what: str) -> Any: ...


@dataclass(frozen=True)
class Failure:
    """A job, or all jobs of a task, that could not be done. ``details`` is a traceback where the cause is not ours."""

    what: str
    reason: str
    details: str = ""

    @property
    def line(self) -> str:
        """How it is said, once."""
        return f"FAILED {self.what}: {self.reason.removeprefix(f'{self.what}: ')}"


@dataclass
class Report:
    """What became of some jobs: how many were run, what failed, which optional tasks were left out, what was said."""

    n_run: int = 0
    failures: list[Failure] = field(default_factory=list)
    left_out: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Chunk:
    """Jobs that share their data: what they are called, their tasks (by name, or themselves), and how many are missing
    by encoder (its place in :attr:`Work.encoders`).
    """

    what: str
    tasks: tuple[str | Task, ...]
    missing: Mapping[int, int]


@dataclass(frozen=True)
class Work:
    """What an executor is handed.

    Attributes:
        here: runs all that is missing in this process, and returns what became of it.
        run: runs anything anywhere: ``run(encoders, tasks, context=, options=, meta=, progress=, may_leave_out=)``, whose
            result has ``n_run``, ``failures`` and ``left_out``. It may be pickled; it computes what has no record in
            ``options.out``, and nothing twice.
        encoders: the source of each, or itself, and its identity.
    """

    here: Callable[[], Report]
    run: Callable[..., Any]
    chunks: Sequence[Chunk]
    encoders: Sequence[tuple[str | os.PathLike[str] | FrozenEncoder, str]]
    context: DataContext
    options: RunOptions
    meta: Any
    may_leave_out: bool


@dataclass(frozen=True)
class Executor:
    """An executor: ``run(work, place, progress)`` runs the missing jobs; ``place`` is what follows its name and a colon.

    ``check(place)`` raises UsageError, before anything is loaded, where it cannot run there. Of one that ``is_here`` the
    encoders are loaded on the device that was asked for; other executors load them where they run.
    """

    name: str
    summary: str
    run: Callable[[Work, str, Progress], Report]
    check: Callable[[str], None]
    is_here: bool = False
