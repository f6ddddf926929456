"""Two ways of doing the same work, timed in turn: each in a process of its own, so that neither has the other's settings.

A benchmark names its ways ("sides"); ``compare`` starts one process a side, has them run in turn, and takes medians.
Both the clock and the processors' time (with that of worker processes) are taken: on a shared machine the second one is
the more reliable.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Work = Callable[[], Mapping[str, Any] | None]


@dataclass
class Spent:
    """Seconds of a side, one a run, and what its runs returned last."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def s(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_s(self) -> float:
        return statistics.median(self.cpu)


def processor_seconds() -> float:
    """Return what this process and its finished children have used of all cores."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def parser(description: str | None, *, arch: str, size: int, repeats: int, warm_up: int) -> argparse.ArgumentParser:
    """Return a parser of what comparisons have in common; ``--side`` is what ``compare`` starts its processes with."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--arch", default=arch)
    made.add_argument("--size", type=int, default=size)
    made.add_argument("--repeats", type=int, default=repeats)
    made.add_argument("--warm-up", type=int, default=warm_up)
    made.add_argument("--side", help=argparse.SUPPRESS)
    return made


def serve(work: Work) -> None:
    """Run ``work`` once for every line of the standard input, and answer each with what it took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the work prints is no answer
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), processor_seconds()
        found = work() or {}
        wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "found": dict(found)}), file=answers, flush=True)


def compare(sides: Sequence[str], *, repeats: int = 3, warm_up: int = 1, more: Sequence[str] = ()) -> dict[str, Spent]:
    """Run this script again with ``--side NAME`` (and ``more``) for each of ``sides``, and have them work in turn."""
    spent = {side: Spent() for side in sides}
    processes = {
        side: subprocess.Popen(
            [sys.executable, *sys.argv, *more, "--side", side], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for side in sides
    }
    try:
        for process in processes.values():  # none is timed while another is still importing
            assert process.stdout is not None
            process.stdout.readline()
        for turn in range(warm_up + repeats):
            for side, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                print("go", file=process.stdin, flush=True)
                line = process.stdout.readline()
                if not line:
                    raise SystemExit(f"The side {side!r} ended with status {process.wait()}.")
                answer = json.loads(line)
                if turn >= warm_up:
                    spent[side].wall.append(answer["wall"])
                    spent[side].cpu.append(answer["cpu"])
                    spent[side].found = answer["found"]
    finally:
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    return spent


def show(spent: Mapping[str, Spent], *, unit: str = "", n: int = 0) -> None:
    """Print a line a side: median seconds, processors' seconds, and ``n`` per second."""
    width = max(map(len, spent))
    for side, taken in spent.items():
        rate = f", {n / taken.s:9,.1f} {unit}/s" if n else ""
        print(f"{side:{width}}  {taken.s:8.2f} s, {taken.cpu_s:8.2f} s of processors{rate}")


def ratio(spent: Mapping[str, Spent], one: str, other: str) -> str:
    """Return how many times the work of ``other`` ``one`` takes, by the clock and in processors' time."""
    a, b = spent[one], spent[other]
    return f"{a.s / b.s:.2f} by the clock, {a.cpu_s / b.cpu_s:.2f} in processors' time"
