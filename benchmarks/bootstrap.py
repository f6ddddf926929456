"""Bootstrap of a whole correlation matrix by weights, against resampling and correlating again each time.

Run: python benchmarks/bootstrap.py [--encoders 30] [--tasks 20] [--resamples 10000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import stats

from virb.stats.bootstrap import bootstrap_correlations


def naive(x: np.ndarray, method: str, resamples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    upper = np.triu_indices(x.shape[1], 1)
    out = np.empty((resamples, len(upper[0])))
    for k in range(resamples):
        sample = x[rng.integers(0, len(x), len(x))]
        if method == "spearman":
            sample = stats.rankdata(sample, axis=0)
        out[k] = np.corrcoef(sample.T)[upper]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--resamples", type=int, default=10_000)
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(args.encoders, 1)) + rng.normal(size=(args.encoders, args.tasks))
    for method in ("pearson", "spearman"):
        start = time.perf_counter()
        slow_draws = naive(x, method, args.resamples)
        slow = time.perf_counter() - start
        start = time.perf_counter()
        draws = bootstrap_correlations(x, method, resamples=args.resamples)
        fast = time.perf_counter() - start
        gap = np.abs(np.percentile(draws, [2.5, 97.5], axis=0) - np.percentile(slow_draws, [2.5, 97.5], axis=0)).max()
        print(
            f"{method}: {args.resamples:,} matrices of {args.encoders} x {args.tasks} in {fast:.2f} s, one by one "
            f"{slow:.2f} s; "
            f"ratio {slow / fast:.1f}; largest difference of an interval's end {gap:.3f}"
        )


if __name__ == "__main__":
    main()
