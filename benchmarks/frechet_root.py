"""The trace of the root in a Fréchet distance: by Cholesky's factor, as virb does, and by the symmetric root, in turn.

Run: OMP_NUM_THREADS=1 python benchmarks/frechet_root.py [--dim 512] [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from virb.stats.distances import _half


def symmetric(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    s1, s2 = (np.cov(rng.normal(size=(args.dim, 4 * args.dim)) * scale) for scale in (1.0, 1.3))
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {"symmetric": symmetric, "cholesky": _half}
    spent: dict[str, list[float]] = {way: [] for way in ways}
    found = {}
    for _ in range(args.repeats):
        for way, root in ways.items():
            begun = time.process_time()
            half = root(s1)
            inner = half.T @ s2 @ half
            found[way] = float(np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0, None)).sum())
            spent[way].append(time.process_time() - begun)
    one, two = (statistics.median(spent[way]) for way in ways)
    print(
        f"D = {args.dim}: symmetric root {one:.3f} s of a processor, Cholesky {two:.3f} s, ratio {one / two:.2f}; relative "
        f"difference {abs(found['symmetric'] / found['cholesky'] - 1):.0e}"
    )


if __name__ == "__main__":
    main()
