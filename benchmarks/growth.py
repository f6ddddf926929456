"""How a finished evaluation grows with the store and with the number of encoders.

Makes a synthetic results folder (encoder files of a tiny network, tasks of a dozen images, records with right
fingerprints and checksums) and times what asks for nothing new, in processors' seconds: the first call ever, which reads every
encoder file and record; the same again in this process; and the command in a new process, imports and printing included.
With --analyze and --report also these commands, whose other processes are counted in.

Run: python benchmarks/growth.py [--encoders 35] [--tasks 21] [--seeds 1] [--analyze] [--report] [--keep DIR]
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from virb import load_encoder, registry
from virb.contracts.examples import DataContext
from virb.contracts.options import RunOptions
from virb.convert.load import save_encoder
from virb.evaluation import run as evaluation
from virb.evaluation.plan import Plan, Planner
from virb.records import fingerprint as prints
from virb.records.record import checksum
from virb.records.store import ResultStore

TASK = '''"""A dozen images of two classes."""
import numpy as np
from virb.contracts.examples import Examples
from virb.contracts.task import Category, Protocol, Task
from virb.images.sets import ArrayImages


def data(context, split):
    pixels = np.random.default_rng([{k}, split == "test"]).integers(0, 255, (12, 16, 16, 3)).astype(np.uint8)
    return Examples(images=ArrayImages.of(f"grown-{k}/{{split}}", pixels), frames=np.arange(12)[:, None],
                    targets=np.arange(12) % 2, ids=[f"{{split}}/{{i}}" for i in range(12)])


TASK = Task(name="grown-{k}", summary="two classes", category=Category.{category}, head="linear",
            loss="cross_entropy", metric="top1", data=data, classes=("a", "b"), protocol=Protocol(epochs=1))
'''
CATEGORIES = ("SEMANTIC_IMAGE", "STRUCTURAL_IMAGE")


def make_parts(place: Path, n_encoders: int, n_tasks: int) -> tuple[list[str], list[str]]:
    """Write encoder files and a content folder, and return the files and the tasks' names."""
    content = place / "content"
    content.mkdir(parents=True)
    for k in range(n_tasks):
        (content / f"grown_{k}.py").write_text(TASK.format(k=k, category=CATEGORIES[k % 2]))
    registry.include(str(content))
    one = load_encoder("random:resnet18:width=0.125,size=32")
    state = one.state_dict()
    files = []
    for k in range(n_encoders):
        state["conv1.weight"] = one.state_dict()["conv1.weight"] + k
        path = place / f"encoder-{k:04d}.pt"
        save_encoder(
            path,
            arch=one.arch,
            arch_options=one.arch_options,
            state_dict=state,
            preprocess=one.preprocess,
            meta={
                "method": f"m{k % 7}",
                "dataset": f"d{k % 5}",
                "epochs": 100 + k,
                "seed": 0,
                "role": "self-supervised",
            },
        )
        files.append(str(path))
    return files, [f"grown-{k}" for k in range(n_tasks)]


def fill(files: Sequence[str], tasks: Sequence[str], out: Path, options: RunOptions) -> int:
    """Write the record of every job, as a run would, with a random score; return their number."""
    first = evaluation.run(files[0], tasks[0], context=DataContext(), options=options.one_seed())
    assert len(first.table) == 1
    store = ResultStore(out)
    template = next(store.records())
    rng = np.random.default_rng(0)
    kept = [predictions(rng, template["n_test"], out / f"kept-{k}") for k in range(64)]
    filled = 0

    def planned(self: Planner, units: Any, *, may_leave_out: bool) -> Plan:
        nonlocal filled
        found = plan(self, units, may_leave_out=may_leave_out)
        for piece in found.pieces:
            said = {task.name: self.about.task(task) for task in piece.unit.scores}
            for job, fingerprint in piece.fingerprints.items():
                if job in found.present:
                    continue
                path, digest = kept[filled % len(kept)]
                record = {
                    **template,
                    "encoder": self.about.encoder(self.encoders[job.encoder]),
                    "task": said[job.task],
                    "seed": job.seed,
                    "score": float(rng.uniform()),
                    "fingerprint": fingerprint,
                    "predictions_sha256": digest,
                }
                goal = self.path(job)
                goal.parent.mkdir(parents=True)
                os.link(path, goal.with_suffix(".npz"))
                goal.write_text(json.dumps({**record, "checksum": checksum(record)}))
                filled += 1
        found.pieces.clear()
        return found

    plan = Planner.plan
    with mock.patch.object(Planner, "plan", planned):
        evaluation.run(files, tasks, context=DataContext(), options=options.one_seed())
    for path, _ in kept:
        path.unlink()
    return filled + sum(repeat(store, seed) for seed in range(1, options.seeds))


def predictions(rng: np.random.Generator, n: int, path: Path) -> tuple[Path, str]:
    """Write predictions of ``n`` test examples; return where, and their digest."""
    ids = np.array([f"test/{i}" for i in range(n)])
    with path.open("wb") as file:
        np.savez_compressed(file, ids=ids, target=np.arange(n) % 2, prediction=rng.integers(0, 2, n))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def repeat(store: ResultStore, seed: int) -> int:
    """Write every record of seed 0 that has none of ``seed`` again, as that seed's; return their number."""
    written = 0
    for record in store.records():
        goal = store.path(record["encoder"]["name"], record["task"]["name"], record["probe"], seed)
        if record["seed"] or goal.exists():
            continue
        parts = {name: record["fingerprint"][name] for name in ("encoder", "data", "task", "probe")}
        made = prints.fingerprint(**{**parts, "probe": {**parts["probe"], "seed": seed}})
        again = {**record, "seed": seed, "fingerprint": made}
        os.link(goal.with_name(f"{record['probe']}-seed0.npz"), goal.with_suffix(".npz"))
        goal.write_text(json.dumps({**again, "checksum": checksum(again)}))
        written += 1
    return written


@contextmanager
def timed(what: str, *, profile: bool) -> Iterator[None]:
    watch = cProfile.Profile() if profile else None
    wall, cpu = time.perf_counter(), time.process_time()
    if watch:
        watch.enable()
    yield
    if watch:
        watch.disable()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {what:52} {cpu:7.2f} s of a processor ({wall:7.2f} by the clock), peak {peak:6.0f} MB", flush=True)
    if watch:
        pstats.Stats(watch).sort_stats("cumtime").print_stats(35)


def command(what: str, *words: str) -> None:
    """Run ``virb`` in a new process and print what it took, with the processes that it started."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "virb", *words], stdout=subprocess.PIPE, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - wall
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / 1024  # of the largest of all so far
    print(f"  {what:52} {cpu:7.2f} s of a processor ({wall:7.2f} by the clock), peak {peak:6.0f} MB", flush=True)
    print("    " + done.stdout.strip().rpartition("\n")[2])
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", type=int, default=35)
    parser.add_argument("--tasks", type=int, default=21)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--analyze", action="store_true", help="also run all analyses")
    parser.add_argument("--report", action="store_true", help="also write the report")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--keep", type=Path, help="make the store here, and use the one that is here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = args.keep or Path(temporary)
        os.environ["VIRB_CACHE"] = str(place / "cache")
        out = place / "results"
        options = RunOptions(out=str(out), seeds=args.seeds, device="cpu")
        if out.is_dir():
            registry.include(str(place / "content"))
            files = sorted(str(path) for path in place.glob("encoder-*.pt"))[: args.encoders]
            tasks = [f"grown-{k}" for k in range(args.tasks)]
            for seed in range(1, args.seeds):
                repeat(ResultStore(out), seed)
        else:
            files, tasks = make_parts(place, args.encoders, args.tasks)
            fill(files, tasks, out, options)
        n = len(files) * len(tasks) * args.seeds
        print(f"{n:,} records: {len(files)} encoders x {len(tasks)} tasks x {args.seeds} seeds")
        time.sleep(2.1)  # files that changed a moment ago are not remembered
        calls = [
            ("nothing to do: one encoder x all tasks", files[:1]),
            ("all encoders x all tasks, the first time", files),
            ("the same again", files),
        ]
        for what, asked in calls:
            with timed(what, profile=args.profile):
                outcome = evaluation.run(asked, tasks, context=DataContext(), options=options)
            assert outcome.n_run == 0
            assert len(outcome.table) == len(asked) * len(tasks) * args.seeds, len(outcome.table)
        where = ["--include", str(place / "content")]
        asked = [*files, "--tasks", ",".join(tasks), "--out", str(out), "--device", "cpu", "--quiet", *where]
        asked += ["--seeds", str(args.seeds)]
        command("virb evaluate, in a new process", "evaluate", *asked)
        if args.analyze:
            command(
                "virb analyze all", "analyze", "all", "--results", str(out), "--out", str(place / "figures"), *where
            )
        if args.report:
            command("virb report", "report", "--results", str(out), "--out", str(place / "report"), *where)


if __name__ == "__main__":
    main()
