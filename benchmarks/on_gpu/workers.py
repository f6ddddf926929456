"""Part e: two Dask workers that share the card write what one process writes."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from on_gpu.rows import Part
from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.images.sets import ArrayImages

HERE = str(Path(__file__).resolve().parents[1])
ENCODERS = ["random:resnet18:width=0.25,size=64", "random:resnet18:width=0.25,size=64,seed=1"]


def examples(k: int, split: str) -> Examples:
    rng = np.random.default_rng([k, len(split)])
    targets = np.arange(256) % 4
    pictures = (rng.integers(0, 128, (256, 64, 64, 3)) + 30 * targets[:, None, None, None]).astype(np.uint8)
    return Examples(
        ArrayImages.of(f"workers{k}", pictures), np.arange(256)[:, None], targets, [str(i) for i in range(256)]
    )


def data(k: int) -> Any:
    def read(context: DataContext, split: str) -> Examples:
        return examples(k, split)

    return read


def task(k: int) -> Task:
    return Task(
        name=f"workers-{k}",
        summary="pictures in memory",
        category=Category.SEMANTIC_IMAGE,
        head="linear",
        loss="cross_entropy",
        metric="top1",
        data=data(k),
        classes=4,
        protocol=Protocol(epochs=5),
    )


def run(part: Part) -> None:
    part.row("two workers and one process", lambda: _compare(part), needs_s=15)


def _compare(part: Part) -> dict[str, Any]:
    from distributed import LocalCluster

    from virb.evaluation import run as evaluation

    # Workers import this file by its name, and virb as this process does.
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])
    tables, seconds = {}, {}
    with tempfile.TemporaryDirectory() as place:

        def evaluate(name: str, executor: str) -> None:
            begun = time.perf_counter()
            found = evaluation.run(
                ENCODERS, [task(k) for k in range(3)], context=DataContext(cache=Path(place) / f"cache-{name}"),
                options=RunOptions(out=str(Path(place) / name), device=str(part.device), executor=executor),
            )  # fmt: skip
            assert not found.failures, [(f.what, f.reason) for f in found.failures]
            seconds[name] = time.perf_counter() - begun
            tables[name] = {(r["encoder"], r["task"]): float(r["score"]) for _, r in found.table.iterrows()}

        evaluate("one", "local")
        with LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None, host="127.0.0.1"
        ) as cluster:
            evaluate("two", f"dask:{cluster.scheduler_address}")
    off = [abs(tables["one"][key] - tables["two"][key]) for key in tables["one"]]
    return {
        "records": len(tables["two"]),
        "largest_difference": max(off),
        "one_s": seconds["one"],
        "two_s": seconds["two"],
    }
