"""What a long run shows: bars with an estimate of the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

LINE_EVERY_S = 15.0


class Progress:
    """Reports stages and jobs on standard error; ``quiet`` reports nothing.

    ``stage`` yields a function ``advance(done, total)``; ``note`` prints a line that stays.
    """

    def __init__(self, *, is_quiet: bool = False, total_jobs: int = 0) -> None:
        self.is_quiet = is_quiet
        self.is_terminal = sys.stderr.isatty() and not is_quiet
        self.total_jobs = total_jobs
        self._done_jobs = 0
        self._started = time.monotonic()
        self._live: Any = None
        self._overall: Any = None

    def __enter__(self) -> Progress:
        if self.is_terminal:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._live = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def set_jobs(self, total: int) -> None:
        """Say how many jobs there are; the overall bar appears."""
        self.total_jobs = total
        self._started = time.monotonic()
        if self._live is not None and total:
            self._overall = self._live.add_task("[bold]all jobs[/bold]", total=total)

    def job_done(self, n: int = 1) -> None:
        self._done_jobs += n
        if self._overall is not None:
            self._live.advance(self._overall, n)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if self.is_quiet:
            return
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def stage(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Report one stage of the work."""
        if self._live is not None:
            bar = self._live.add_task(what, total=None)

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
                left = (now - begun) / max(done, 1) * (total - done)
                self.note(f"{what}: {done}/{total}, {_duration(left)} left")

        yield line
        took = time.monotonic() - begun
        if took >= 1.0:
            self.note(f"{what}: done in {_duration(took)}{self._overall_text()}")

    def _overall_text(self) -> str:
        if not self.total_jobs:
            return ""
        elapsed = time.monotonic() - self._started
        text = f" [{self._done_jobs}/{self.total_jobs} jobs"
        if 0 < self._done_jobs < self.total_jobs:
            text += f", about {_duration(elapsed / self._done_jobs * (self.total_jobs - self._done_jobs))} left"
        return text + "]"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
