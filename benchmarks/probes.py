"""Seconds and peak memory of the probes knn and lbfgs on embeddings in a file, each in a process of its own.

Embeddings are random around one centre a class, float32 (n, dim), memory-mapped as in the feature cache. Peak is the
process's largest resident set (ru_maxrss); what it holds before any embedding is read is shown beside it.

Run: python benchmarks/probes.py [--n 50000] [--dim 2048] [--classes 10] [--n-test 5000] [--probe knn|lbfgs]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from virb.system.mapped import Walk

RUN = """
import json, resource, sys, time
import numpy as np
from virb.probes import knn, lbfgs

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

probe, place = sys.argv[1], sys.argv[2]
train, test = (np.load(f"{place}/{split}.npy", mmap_mode="r") for split in ("train", "test"))
labels, wanted = (np.load(f"{place}/{split}-labels.npy") for split in ("train", "test"))
n_classes = int(labels.max()) + 1
frames, asked = np.arange(len(train))[:, None], np.arange(len(test))[:, None]
before, start, said = peak_mb(), time.perf_counter(), {}
if probe == "knn":
    scores = knn.classify(train, frames, labels, test, asked, n_classes=n_classes)
else:
    choice = lbfgs.choose_and_fit(
        train, frames, labels, n_classes=n_classes, seed=0,
        score=lambda scores, targets: float(np.mean(scores.argmax(axis=1) == targets)),
    )
    scores = choice.fit.scores(test, asked)
    said = {"penalty": choice.fit.penalty, "is_converged": choice.fit.is_converged}
print(json.dumps({"s": time.perf_counter() - start, "before_mb": before, "peak_mb": peak_mb(),
                  "top1": float(np.mean(scores.argmax(axis=1) == wanted)), **said}))
"""


def write(path: Path, n: int, dim: int, classes: int, seed: int) -> None:
    """Write ``n`` embeddings a block at a time, and their classes."""
    centres = np.random.default_rng(0).normal(size=(classes, dim)).astype(np.float32)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    np.save(path.with_name(f"{path.stem}-labels.npy"), labels)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, dim))
    walk = Walk(array)  # or the peak of this process would be its children's
    for start in range(0, n, 8192):
        chosen = labels[start : start + 8192]
        noise = rng.standard_normal((len(chosen), dim), dtype=np.float32)
        array[start : start + 8192] = 0.08 * centres[chosen] + noise
        walk.rows(len(chosen))
    array.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[50_000])
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--n-test", type=int, default=5000)
    parser.add_argument("--probe", nargs="+", choices=("knn", "lbfgs"), default=["knn", "lbfgs"])
    args = parser.parse_args()
    print("| probe | train | test | D | classes | s | peak MB | of which before | top-1 | |\n|---|" + "---|" * 9)
    for n in args.n:
        with tempfile.TemporaryDirectory() as place:
            write(Path(place) / "train.npy", n, args.dim, args.classes, seed=1)
            write(Path(place) / "test.npy", args.n_test, args.dim, args.classes, seed=2)
            for probe in args.probe:
                done = subprocess.run(
                    [sys.executable, "-c", RUN, probe, place], stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(done.stdout)
                said = "; ".join(f"{key} {found[key]}" for key in ("penalty", "is_converged") if key in found)
                print(
                    f"| {probe} | {n:,} | {args.n_test:,} | {args.dim:,} | {args.classes} | {found['s']:.0f} "
                    f"| {found['peak_mb']:,.0f} | {found['before_mb']:,.0f} | {found['top1']:.3f} | {said} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
