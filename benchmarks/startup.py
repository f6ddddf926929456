"""Start-up: `virb --help`, `virb list tasks`, and from the start of `virb evaluate` to its first encoded batch.

Each is a fresh process, the median of several; the first is left out, so that files are in the kernel's cache.

Run: python benchmarks/startup.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import photos

TASK = """
from virb.images.folders import image_folder
from virb.contracts.task import Category, Protocol, Task

TASK = Task(name="photos", summary="which class", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
    metric="top1", data=image_folder("photos"), classes=tuple(f"class{k}" for k in range(10)), protocol=Protocol(epochs=1))
"""
# The command as it is, ended by the first batch that is encoded.
EVALUATE = """
import os, sys
from virb.cli import main
from virb.features import cache as features
first = features.encode_batch
def encode(*args):
    found = first(*args)
    os._exit(77)
features.encode_batch = encode
main(sys.argv[1:])
"""
ENCODED = 77


def timed(run: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Return the medians of the clock's and the processors' seconds of ``run``, the first call left out."""
    wall, cpu = [], []
    for _ in range(repeats + 1):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run()
        wall.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(wall[1:]), statistics.median(cpu[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    def verb(*argv: str) -> Callable[[], None]:
        def run() -> None:
            subprocess.run([sys.executable, "-m", "virb", *argv], check=True, stdout=subprocess.DEVNULL)

        return run

    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        photos.write(root / "data", train=128, test=32)
        (root / "tasks").mkdir()
        (root / "tasks" / "photos.py").write_text(TASK)

        def evaluate() -> None:
            with tempfile.TemporaryDirectory() as cache:
                argv = ["evaluate", "random:resnet18:width=0.25,size=64", "--include", str(root / "tasks")]
                argv += ["--tasks", "photos", "--data", f"photos={root / 'data'}", "--out", f"{cache}/results"]
                done = subprocess.run(
                    [sys.executable, "-c", EVALUATE, *argv],
                    env={**os.environ, "VIRB_CACHE": cache},
                    stderr=subprocess.PIPE,
                    text=True,
                )
                if done.returncode != ENCODED:
                    raise SystemExit(done.stderr)

        def torch_alone() -> None:
            subprocess.run([sys.executable, "-c", "import torch"], check=True)

        rows = (
            ("virb --help", verb("--help"), 0.3),
            ("virb list tasks", verb("list", "tasks"), 0.3),
            ("virb list methods", verb("list", "methods"), 0.3),
            ("virb evaluate, to the first encoded batch", evaluate, 5.0),
            ("python -c 'import torch'", torch_alone, None),
        )
        for what, run, goal in rows:
            wall, cpu = timed(run, args.repeats)
            limit = f", at most {goal} s wanted; ratio {wall / goal:.2f}" if goal else ""
            print(f"{what:42} {wall:5.2f} s, {cpu:5.2f} s of processors{limit}")


if __name__ == "__main__":
    main()
