"""What a simulated GPU counts: operations, waits and copies, by region and by the line that caused them."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import types
import weakref
from collections import Counter
from collections.abc import Iterator

import torch

TOTAL_BYTES = 80 * 1024**3
HIDDEN = (os.path.dirname(torch.__file__) + os.sep, os.path.dirname(__file__), "<frozen", contextlib.__file__)
KINDS = (
    "ops",
    "launches",
    "syncs",
    "h2d",
    "d2h",
    "h2d_bytes",
    "d2h_bytes",
    "h2d_blocking",
    "h2d_pageable",
    "d2h_pageable",
)


class SimulatedGPU:
    """The counters. Every number is kept by region (the innermost open one; "" is outside of all), kind and place.

    ops           operations on device tensors that reach the dispatcher below autograd
    launches      those that are work for the device (no views, no allocation, no scalar reads)
    syncs         the host waits for the device: scalar reads, nonzero and its like, blocking copies to the host, waits
    h2d, d2h      copies; ..._bytes; ..._pageable: from or to memory that is not pinned
    h2d_blocking  copies to the device that also wait for it: real synchronisations, counted apart from ``syncs``
    """

    def __init__(self) -> None:
        self.entries: Counter[str] = Counter()  # how often a region was entered
        self.live_bytes = self.peak_bytes = 0
        self.limit_bytes = TOTAL_BYTES  # beyond it, memory is out
        self._places: Counter[tuple[str, str, str, str]] = Counter()  # (region, kind, what, where)
        self._regions, self._storages, self._lock = [""], Counter(), threading.RLock()

    @contextlib.contextmanager
    def region(self, name: str) -> Iterator[None]:
        """Count what happens inside, in any thread, under ``name``."""
        self.entries[name] += 1
        self._regions.append(name)
        try:
            yield
        finally:
            del self._regions[len(self._regions) - 1 - self._regions[::-1].index(name)]  # threads leave in any order

    def counts(self, region: str | None = None) -> dict[str, int]:
        """Return {kind: number} of a region, or of everything."""
        found: Counter[str] = Counter()
        for (name, kind, _, _), count in self._places.items():
            found[kind] += count * (region in (None, name))
        return {kind: found[kind] for kind in KINDS}

    def offenders(self, kind: str, region: str | None = None, n: int = 5) -> list[tuple[int, str]]:
        """Return [(count, what at where)] of the ``n`` most frequent."""
        found: Counter[str] = Counter()
        for (name, k, what, where), count in self._places.items():
            if k == kind and region in (None, name):
                found[f"{what} at {where}"] += count
        return [(count, text) for text, count in found.most_common(n)]

    def assert_at_most(self, region: str, **limits: int) -> None:
        """Fail if a region counted more than ``limits``, or nothing at all, which is a test of nothing."""
        counts = self.counts(region)
        assert counts["ops"], f"nothing ran on the device in region {region!r}"
        for kind, limit in limits.items():
            top = "; ".join(f"{count} {text}" for count, text in self.offenders(kind, region))
            assert counts[kind] <= limit, f"{region}: {counts[kind]} {kind}, at most {limit} wanted: {top}"

    def report(self, n: int = 3) -> str:
        lines = []
        for region in sorted({name for name, *_ in self._places}):
            lines.append(f"{region or '(outside)'}: " + ", ".join(f"{v:,} {k}" for k, v in self.counts(region).items()))
            for kind in ("launches", "syncs", "h2d", "d2h"):
                lines += [f"    {kind:8} {count:6,} {text}" for count, text in self.offenders(kind, region, n)]
        return "\n".join(lines)

    def add(self, kind: str, what: str, amount: int = 1) -> None:
        if amount:
            with self._lock:
                self._places[self._regions[-1], kind, what, _where()] += amount

    def copy(self, kind: str, numel: int, from_size: int, to_size: int, *, pinned: bool, non_blocking: bool) -> None:
        # PyTorch converts types on the device when it need not block, and on the host (before or after) when it must.
        on_device, on_host = (from_size, to_size) if kind == "h2d" else (to_size, from_size)
        what = f"{'pinned' if pinned else 'pageable'}{'' if non_blocking else ' blocking'}"
        if numel:
            self.add(kind, what)
            self.add(f"{kind}_bytes", what, numel * (on_device if non_blocking else on_host))
            self.add(f"{kind}_pageable", what, not pinned)
            self.add("h2d_blocking", what, kind == "h2d" and not non_blocking)
            # A copy to pageable memory waits even when it is told not to.
            self.add("syncs", "copy to host", kind == "d2h" and not (non_blocking and pinned))

    def hold(self, element: torch.Tensor) -> None:
        """Count the memory of a device tensor until it goes."""
        storage = element.untyped_storage()
        if self.live_bytes + storage.nbytes() * (not self._storages[storage._cdata]) > self.limit_bytes:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {storage.nbytes()} bytes (simulated).")
        self._hold(storage._cdata, storage.nbytes(), 1)
        weakref.finalize(element, self._hold, storage._cdata, storage.nbytes(), -1).atexit = False

    def _hold(self, key: int, size: int, amount: int) -> None:
        with self._lock:
            before, self._storages[key] = self._storages[key], self._storages[key] + amount
            self.live_bytes += size * (bool(self._storages[key]) - bool(before))
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)


def _where() -> str:
    """The innermost frame outside of torch and this file."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(HIDDEN):
            return f"{'/'.join(frame.f_code.co_filename.split(os.sep)[-3:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "(no Python frame)"


current: list[SimulatedGPU] = []  # the one that is open
