"""Threads that each compute on one core: no waiting for each other inside an operation, and the same bits on any machine.

PyTorch splits an operation over all cores and waits for the slowest. With small networks, on shared machines and under
CPU quotas that wait is most of the time. Independent pieces of work on one core each have none, and their results do
not depend on how many cores there are.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def n_cores() -> int:
    """Return how many cores this process may use: its affinity (on Python 3.13 also ``-X cpu_count``), at most
    ``$VIRB_CORES``, by which processes that run side by side share a machine.
    """
    count = getattr(os, "process_cpu_count", None)
    if count is not None:
        found = count() or 1
    else:
        found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get("VIRB_CORES", "")
    return min(found, max(1, int(share))) if share.isdigit() else found


@contextlib.contextmanager
def core_pool(n: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of ``n`` threads (default: one a core) in which PyTorch uses one thread an operation."""
    import torch

    pool = ThreadPoolExecutor(max_workers=n or n_cores(), initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread an operation in the block, in this thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class MemoryShare:
    """Lets jobs run side by side while what they need together fits into ``n_bytes``; a larger one runs alone."""

    def __init__(self, n_bytes: float) -> None:
        self.n_bytes = n_bytes
        self._taken = 0.0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, n_bytes: float) -> Iterator[None]:
        """Wait until ``n_bytes`` are free, and hold them in the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + n_bytes <= self.n_bytes)
            self._taken += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= n_bytes
                self._changed.notify_all()


def memory_bytes() -> float:
    """Return how much memory this process may use: the machine's, or its control group's limit; infinite if unknown."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


_GLOBAL_GENERATOR = threading.RLock()


@contextlib.contextmanager
def own_generator(seed: int | None = None) -> Iterator[None]:
    """Lend the block PyTorch's global CPU generator, which initial weights come from, and restore it afterwards.

    One thread at a time has it, so that what is drawn follows from ``seed`` alone.
    """
    import torch

    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
