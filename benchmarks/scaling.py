"""What a grid costs as it grows: E encoders x T tasks on n JPEG files, the formula of docs/scaling.md fitted to it, and
the executors: local on one core, Dask with one worker of one core and with two.

The tasks of the grid share their images, so the formula is: start + E load + n (decode + E forward + E T head). Processor
seconds are fitted, on one core, for n and n / 4 images. For the executors the clock counts too, and start-up (imports, workers)
is in it.

Run: python benchmarks/scaling.py [--images 200] [--repeats 3] [--no-dask]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import photos
import sides

import virb
from virb.contracts.examples import DataContext
from virb.system.allocator import keep_freed_memory
from virb.system.threads import n_cores

GRID = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2))  # encoders, tasks
TASKS = """
from virb.images.folders import image_folder
from virb.contracts.task import Category, Protocol, Task

TASK = Task(name="{name}", summary="which class", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
    metric="top1", data=image_folder("photos"), classes=tuple(f"class{{k}}" for k in range(10)),
    protocol=Protocol(epochs={epochs}))
"""


def sources(n: int) -> list[str]:
    return [f"random:resnet18:width=0.5,size=64,seed={seed}" for seed in range(n)]


def evaluate(n_encoders: int, n_tasks: int, data: Path, epochs: int) -> float:
    """Return the processor seconds of a grid in this process."""
    # Tasks of one epoch more each: those that differ in the optimiser alone would train as one problem.
    tasks = [photos.task(epochs + k, f"photos{k}") for k in range(n_tasks)]
    with tempfile.TemporaryDirectory() as place:
        context = DataContext(places={"photos": data}, cache=Path(place) / "cache")
        start = time.process_time()
        virb.evaluate(sources(n_encoders), tasks, data=context, out=Path(place) / "results", device="cpu")
        return time.process_time() - start


def fit(points: Sequence[tuple[int, int, int]], seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (start, load an encoder; decode, forward and a head's epochs an image) and what the formula gives.

    ``points`` are (images, encoders, tasks). Relative errors are minimised: the small grids count as much as the large.
    """
    design = np.array([[1, e, n, n * e, n * e * t] for n, e, t in points], dtype=float)
    found, *_ = np.linalg.lstsq(design / seconds[:, None], np.ones(len(points)), rcond=None)
    return found, design @ found


def command(executor: str, cores: list[int], data: Path, epochs: int, n_encoders: int) -> tuple[float, float]:
    """Return the clock's and the processors' seconds of the command line tool on ``cores``."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tasks"
        folder.mkdir()
        for k in range(2):
            (folder / f"photos{k}.py").write_text(TASKS.format(name=f"photos{k}", epochs=epochs + k))
        argv = ["evaluate", *sources(n_encoders), "--include", str(folder), "--tasks", "photos0,photos1"]
        argv += ["--data", f"photos={data}", "--out", f"{place}/results", "--device", "cpu", "--executor", executor]
        wall, cpu = time.perf_counter(), sides.processor_seconds()
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            subprocess.run(
                [sys.executable, "-m", "virb", *argv],
                env={**os.environ, "VIRB_CACHE": f"{place}/cache", "OMP_NUM_THREADS": "1"},
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.sched_setaffinity(0, before)
        return time.perf_counter() - wall, sides.processor_seconds() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-dask", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        data = {
            n: photos.write(Path(place) / str(n), train=n * 4 // 5, test=n // 5)
            for n in (args.images, args.images // 4)
        }
        evaluate(1, 1, data[args.images // 4], 1)  # imports and first calls
        points = [(n, e, t) for n in data for e, t in GRID]
        runs = [[evaluate(e, t, data[n], args.epochs) for n, e, t in points] for _ in range(args.repeats)]
        seconds = np.median(runs, axis=0)
        found, given = fit(points, seconds)
        print(f"JPEG files of 320 px, resnet18 of half width at 64 px, {args.epochs} epochs, one core's seconds")
        for (n, e, t), measured, formula in zip(points, seconds, given, strict=True):
            print(f"{n:4} images, {e} encoders x {t} tasks: {measured:6.2f} s, by the formula {formula:6.2f} s")
        print(
            f"fitted: start {found[0]:.2f} s, an encoder's loading {found[1]:.2f} s; an image: decode and resize "
            f"{1e3 * found[2]:.1f} ms, forward {1e3 * found[3]:.2f} ms an encoder, {1e3 * found[4]:.2f} ms a head; "
            f"largest error {np.abs(given / seconds - 1).max():.0%}"
        )
        if args.no_dask:
            return
        cores = sorted(os.sched_getaffinity(0))
        for what, executor, used in (
            ("local, one core", "local", cores[:1]),
            ("Dask, one worker of one core", "dask", cores[:1]),
            (f"Dask, {min(2, n_cores())} workers of one core", "dask", cores[:2]),
        ):
            wall, cpu = command(executor, used, data[args.images], args.epochs, 4)
            print(f"4 encoders x 2 tasks, {what}: {wall:6.2f} s, {cpu:6.2f} s of processors", flush=True)


if __name__ == "__main__":
    main()
