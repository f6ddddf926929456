"""How a long run tells a person where it is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any


def _clock(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


class Reporter:
    """Shows ``done`` of ``total`` images on standard error, with images/s, the time left and a few numbers."""

    def __init__(self, title: str, *, quiet: bool = False, every_s: float = 15.0) -> None:
        self.title = title
        self.quiet = quiet
        self.every_s = every_s
        self._bar: Any = None
        self._task: Any = None
        self._last = 0.0
        self._start = time.perf_counter()
        self._from = 0

    def __enter__(self) -> Reporter:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[text]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=1, text="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, done: int) -> None:
        """Set the clock: ``done`` images were trained on before (a resumed run)."""
        self._start, self._from = time.perf_counter(), done
        self._last = self._start

    def update(self, done: int, total: int, **numbers: float) -> None:
        """Say that ``done`` of ``total`` images are done; ``numbers`` are shown as they are named."""
        if self.quiet:
            return
        now = time.perf_counter()
        is_last = done >= total
        if self._bar is None and now - self._last < self.every_s and not is_last:
            return
        rate = (done - self._from) / max(now - self._start, 1e-9)
        text = "  ".join([*(f"{k} {v:.4g}" for k, v in numbers.items()), f"{rate:,.0f} images/s"])
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, text=text)
        else:
            self._last = now
            left = _clock((total - done) / rate) if rate > 0 else "?"
            print(f"{self.title}: {100 * done / total:3.0f}%  {text}  {left} left", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Say something that the user should know, on a line of its own."""
        if self._bar is not None:
            self._bar.console.print(f"{self.title}: {text}", markup=False, highlight=False)
        elif not self.quiet:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def note(self, what: str, done: int, total: int) -> None:
        """Say how far a preparation is (decoding images)."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, text=what)
        elif not self.quiet and (time.perf_counter() - self._last > self.every_s or done == total):
            self._last = time.perf_counter()
            print(f"{self.title}: {what} {done}/{total}", file=sys.stderr, flush=True)
