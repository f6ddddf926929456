"""What a long run shows: bars on a terminal and in a notebook, plain lines elsewhere; always what is left of the whole."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

LINE_EVERY_S = 15.0
LEAST_S = 3.0  # an estimate from less is none


class Progress:
    """Reports stages and jobs on standard error; ``quiet`` reports nothing.

    ``stage`` yields a function ``advance(done, total)``; ``note`` prints a line that stays. ``told`` are the notes so far,
    so that nothing is said twice.
    """

    def __init__(self, *, is_quiet: bool = False, total_jobs: int = 0) -> None:
        self.is_quiet = is_quiet
        self.has_bars = not is_quiet and (sys.stderr.isatty() or _is_notebook())
        self.total_jobs = total_jobs
        self.done_jobs = 0
        self.told: set[str] = set()
        self._total_work = self._done_work = 0.0
        self._started = time.monotonic()
        self._live: Any = None
        self._overall: Any = None

    def __enter__(self) -> Progress:
        if self.has_bars:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            self._live = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=not _is_notebook()),
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def set_jobs(self, total: int, *, work: float = 0.0) -> None:
        """Say how many jobs there are; the overall bar appears.

        ``work`` is what they cost in all, in any unit that :meth:`work_done` counts in; without it jobs count alike.
        """
        self.total_jobs = total
        self.done_jobs = 0
        self._total_work, self._done_work = work, 0.0
        self._started = time.monotonic()
        if self._live is not None and total:
            self._overall = self._live.add_task("[bold]all jobs[/bold]", total=total, left="")

    def job_done(self, n: int = 1) -> None:
        self.done_jobs += n
        if self._overall is not None:
            self._live.advance(self._overall, n)
            self._live.update(self._overall, left=self._left())

    def work_done(self, work: float) -> None:
        """Count work of :meth:`set_jobs` as done, so that the time left is of what costs it."""
        self._done_work += work
        if self._overall is not None:
            self._live.update(self._overall, left=self._left())

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self.is_quiet:
            return
        self.told.add(text)
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Report one stage of the work."""
        if self._live is not None:
            bar = self._live.add_task(what, total=None, left="")

            def advance(done: int, total: int) -> None:
                self._live.update(bar, completed=done, total=total)

            try:
                yield advance
            finally:
                self._live.remove_task(bar)
            return
        begun = time.monotonic()
        last = begun

        def line(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LINE_EVERY_S and done < total:
                last = now
                self.note(f"{what}: {done} of {total}{self._overall_text()}")

        yield line
        took = time.monotonic() - begun
        if took >= 1.0:
            self.note(f"{what}: {_duration(took)}{self._overall_text()}")

    def _left(self) -> str:
        """How long the rest of the whole takes, in words; nothing where too little was done to say."""
        done, total = (self._done_work, self._total_work) if self._total_work else (self.done_jobs, self.total_jobs)
        elapsed = time.monotonic() - self._started
        if not 0 < done < total or elapsed < LEAST_S:
            return ""
        return f"about {_duration(elapsed / done * (total - done))} left in all"

    def _overall_text(self) -> str:
        if not self.total_jobs:
            return ""
        left = self._left()
        return f" [{self.done_jobs} of {self.total_jobs} jobs{f', {left}' if left else ''}]"


def _is_notebook() -> bool:
    """Whether this runs in a notebook that can show bars: a kernel of IPython's with its widgets installed."""
    try:
        shell = sys.modules["IPython"].get_ipython()
    except (KeyError, AttributeError):
        return False
    return type(shell).__name__ == "ZMQInteractiveShell" and importlib.util.find_spec("ipywidgets") is not None


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
