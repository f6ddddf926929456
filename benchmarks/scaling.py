"""What a grid costs as it grows: E encoders x T tasks on n JPEG files, the formula of docs/scaling.md fitted to it, and
the executors: local on one core, Dask with one worker of one core and with two.

The tasks of the grid share their images, so the formula is: n (decode + E forward) + E T head. Processor seconds are
fitted, on one core. For the executors the clock counts too, and start-up (imports, workers) is in it.

Run: python benchmarks/scaling.py [--images 60] [--no-dask]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import photos
import sides

import virb
from virb.allocator import keep_freed_memory
from virb.data.examples import DataContext
from virb.threads import n_cores

GRID = ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (4, 2))
TASKS = """
from virb.data.folders import image_folder
from virb.task import Category, Protocol, Task

TASK = Task(name="{name}", summary="which class", category=Category.SEMANTIC_IMAGE, head="linear", loss="cross_entropy",
    metric="top1", data=image_folder("photos"), classes=tuple(f"class{{k}}" for k in range(10)),
    protocol=Protocol(epochs={epochs}))
"""


def sources(n: int) -> list[str]:
    return [f"random:resnet18:width=0.5,size=64,seed={seed}" for seed in range(n)]


def evaluate(n_encoders: int, n_tasks: int, data: Path, epochs: int) -> float:
    """Return the processor seconds of a grid in this process."""
    tasks = [photos.task(epochs, f"photos{k}") for k in range(n_tasks)]
    with tempfile.TemporaryDirectory() as place:
        context = DataContext(places={"photos": data}, cache=Path(place) / "cache")
        start = time.process_time()
        virb.evaluate(sources(n_encoders), tasks, data=context, out=Path(place) / "results", device="cpu")
        return time.process_time() - start


def fit(n: int, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (decode and resize an image, forward an image, a head) and what the formula gives for the grid."""
    design = np.array([[n, n * e, e * t] for e, t in GRID], dtype=float)
    found, *_ = np.linalg.lstsq(design, seconds, rcond=None)
    return found, design @ found


def command(executor: str, cores: list[int], data: Path, epochs: int, n_encoders: int) -> tuple[float, float]:
    """Return the clock's and the processors' seconds of the command line tool on ``cores``."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tasks"
        folder.mkdir()
        for k in range(2):
            (folder / f"photos{k}.py").write_text(TASKS.format(name=f"photos{k}", epochs=epochs))
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
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--no-dask", action="store_true")
    args = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        data = photos.write(Path(place), train=args.images * 4 // 5, test=args.images // 5)
        evaluate(1, 1, data, 1)  # imports and first calls
        runs = [[evaluate(e, t, data, args.epochs) for e, t in GRID] for _ in range(args.repeats)]
        seconds = np.median(runs, axis=0)
        found, given = fit(args.images, seconds)
        print(
            f"{args.images} JPEG files of 320 px, resnet18 of half width at 64 px, {args.epochs} epochs, one core's seconds"
        )
        for (e, t), measured, formula in zip(GRID, seconds, given, strict=True):
            print(f"{e} encoders x {t} tasks: {measured:6.2f} s, by the formula {formula:6.2f} s")
        print(
            f"fitted: decode and resize {1e3 * found[0]:.1f} ms an image, forward {1e3 * found[1]:.2f} ms an image and "
            f"encoder, {1e3 * found[2]:.0f} ms a head; largest error {np.abs(given / seconds - 1).max():.0%}"
        )
        if args.no_dask:
            return
        cores = sorted(os.sched_getaffinity(0))
        for what, executor, used in (
            ("local, one core", "local", cores[:1]),
            ("Dask, one worker of one core", "dask", cores[:1]),
            (f"Dask, {min(2, n_cores())} workers of one core", "dask", cores[:2]),
        ):
            wall, cpu = command(executor, used, data, args.epochs, 4)
            print(f"4 encoders x 2 tasks, {what}: {wall:6.2f} s, {cpu:6.2f} s of processors", flush=True)


if __name__ == "__main__":
    main()
