"""Run several analyses, side by side in processes of their own where there is much to do and cores to do it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from virb.figures import look
from virb.figures.analysing import AnalysisRun, run_by_name
from virb.records.store import Checked, opened
from virb.system.allocator import collect_seldom, keep_freed_memory
from virb.system.threads import n_cores

if TYPE_CHECKING:
    from pandas import DataFrame

MANY = 1_000  # scores, from which on all analyses take longer than processes take to start
MOST = 4  # processes, of some 300 MB each


def n_processes_for(scores: DataFrame | None) -> int:
    """Return how many processes analyses of these scores are worth, this one included: one a core, where the scores are many."""
    return min(MOST, n_cores()) if scores is not None and len(scores) >= MANY else 1


@contextlib.contextmanager
def running(
    names: Sequence[str],
    scores: DataFrame | None,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    *,
    n_processes: int = 1,
    is_alone: bool = False,
) -> Iterator[Iterator[AnalysisRun]]:
    """Yield an iterator of what came of each analysis (:func:`virb.figures.analysing.run_by_name`), in the order of ``names``.

    With one process each runs when it is asked for. With several they run from the start, beside the block, the first of
    them first; this process is one, and while it waits for the next it runs the last that none has begun. What they write
    is the same. A process imports the main program anew, which must do nothing then (``if __name__ == "__main__":``).
    Where one dies, the rest runs in this process. ``is_alone`` is for one name, as there.
    """
    n = min(n_processes, len(names))
    if n < 2:
        yield (run_by_name(name, scores, folder, options, is_alone=is_alone) for name in names)
        return
    results = None if scores is None else scores.attrs.get("results")
    checked = opened(results).whole if results else {}
    given = (look.now(), results, checked, scores, folder, dict(options or {}))
    pool = ProcessPoolExecutor(n - 1, mp_context=get_context("spawn"), initializer=_begin, initargs=given)
    try:
        asked = [(name, pool.submit(_run, name)) for name in names]
        yield _shared(pool, asked, scores, folder, options)
    finally:
        pool.shutdown(cancel_futures=True)


def _shared(
    pool: ProcessPoolExecutor,
    asked: Sequence[tuple[str, Future[AnalysisRun]]],
    scores: DataFrame | None,
    folder: Path,
    options: Mapping[str, Any] | None,
) -> Iterator[AnalysisRun]:
    here: dict[int, AnalysisRun] = {}
    open_ones = list(range(len(asked)))
    for k, (name, future) in enumerate(asked):
        while k not in here and not future.done() and open_ones:
            last = open_ones.pop()
            if asked[last][1].cancel():
                here[last] = run_by_name(asked[last][0], scores, folder, options)
        yield here.pop(k) if k in here else _result(pool, future, name, scores, folder, options)


def _result(
    pool: ProcessPoolExecutor,
    future: Future[AnalysisRun],
    name: str,
    scores: DataFrame | None,
    folder: Path,
    options: Mapping[str, Any] | None,
) -> AnalysisRun:
    try:
        return future.result()
    except BrokenProcessPool:
        pool.shutdown()  # one that dies takes the others along, in the middle of what they write
        for path in folder.glob(f".{name}*.tmp"):
            path.unlink(missing_ok=True)
        return run_by_name(name, scores, folder, options)


_given: tuple[Any, ...] = ()


def _begin(drawn_with: look.Look, results: str | None, checked: Checked, *given: Any) -> None:
    global _given
    keep_freed_memory()
    collect_seldom()
    if results:
        opened(results).whole |= checked
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process says that it was interrupted
    look.draw_with(drawn_with)
    _given = given


def _run(name: str) -> AnalysisRun:
    return run_by_name(name, *_given)
