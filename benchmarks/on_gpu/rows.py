"""What the parts have in common: guarded rows that are kept as they come, and times taken in turn."""

from __future__ import annotations

import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Work = Callable[[], Any]


class Part:
    """The rows of a part: no row begins after ``end`` (by time.time()), and one that fails costs no other."""

    def __init__(self, file: Path, end: float, device: str, *, is_small: bool) -> None:
        self.file = file
        self.end = end
        self.device = torch.device(device)
        self.is_small = is_small

    @property
    def left(self) -> float:
        return self.end - time.time()

    def write(self, row: Mapping[str, Any]) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(row, default=str) + "\n")

    def row(self, name: str, work: Callable[[], Mapping[str, Any] | None], *, needs_s: float = 3.0) -> None:
        """Keep what ``work()`` returns under ``name``, or why there is nothing."""
        if self.left < needs_s:
            self.write({"row": name, "left_out": "no time was left"})
            return
        begun = time.perf_counter()
        row: dict[str, Any] = {"row": name}
        try:
            row |= work() or {}
        except Exception:
            row["error"] = traceback.format_exc()[-3000:]
        row["took_s"] = round(time.perf_counter() - begun, 2)
        if self.device.type == "cuda":
            row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        self.write(row)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Work) -> float:
        """Return how long one call takes, the device's work included."""
        self.wait()
        begun = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - begun

    def in_turn(
        self, sides: Mapping[str, Work], *, n: int, rounds: int = 3, warm: int = 3, seconds: float = 1.0
    ) -> dict[str, dict[str, Any]]:
        """Return for each side the median seconds of a call, over rounds in turn of ``n`` calls or about ``seconds``."""
        calls = {}
        for name, work in sides.items():
            for _ in range(warm):
                work()
            calls[name] = max(1, min(n, int(seconds / max(1e-9, self.seconds(work)))))
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, work in sides.items():

                def several(work: Work = work, name: str = name) -> None:
                    for _ in range(calls[name]):
                        work()

                taken[name].append(self.seconds(several) / calls[name])
        return {name: {"s": statistics.median(all_s), "all": all_s} for name, all_s in taken.items()}
