"""Statistics beside other implementations of the same number: a plain one in numpy, and published packages where installed.

Each row times both sides in turn in this process and prints the peer's time over ours: above 1, ours is faster. Published
packages: pip install torchmetrics ckatorch.

Run: OMP_NUM_THREADS=1 python benchmarks/peers.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

from virb.stats import frechet_distance, linear_cka
from virb.stats.bootstrap import bootstrap_correlations
from virb.stats.distances import Moments

Row = tuple[str, str, Callable[[], object], Callable[[], object]]


def closed_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA as one would write it: by whichever products are the smaller."""
    x, y = x.astype(float), y.astype(float)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n = len(x)
    if n < x.shape[1]:
        k, m = x @ x.T, y @ y.T
        plain = [(k * m).sum(), (k * k).sum(), (m * m).sum()]
    else:
        plain = [((a.T @ b) ** 2).sum() for a, b in ((x, y), (x, x), (y, y))]
    r, s = (x * x).sum(axis=1), (y * y).sum(axis=1)
    cross, own_x, own_y = (
        p - n / (n - 2) * (a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))
        for p, (a, b) in zip(plain, ((r, s), (r, r), (s, s)), strict=True)
    )
    return float(cross / np.sqrt(own_x * own_y))


def batched_bootstrap(x: np.ndarray, resamples: int, step: int = 500) -> np.ndarray:
    """Pearson's r of resampled rows, a batch of samples at a time."""
    rng = np.random.default_rng(0)
    upper = np.triu_indices(x.shape[1], 1)
    out = np.empty((resamples, len(upper[0])))
    for start in range(0, resamples, step):
        z = x[rng.integers(0, len(x), (step, len(x)))]
        z = z - z.mean(axis=1, keepdims=True)
        z /= np.sqrt((z * z).sum(axis=1, keepdims=True))
        out[start : start + step] = (z.transpose(0, 2, 1) @ z)[:, upper[0], upper[1]]
    return out


def plain_frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Fréchet distance by a Cholesky factor and the eigenvalues of a symmetric product."""
    s, t = np.cov(x.T), np.cov(y.T)
    factor = np.linalg.cholesky(s + 1e-10 * np.eye(len(s)))
    root = np.sqrt(np.clip(scipy.linalg.eigvalsh(factor.T @ t @ factor), 0, None)).sum()
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s) + np.trace(t) - 2 * root)


def our_frechet(x: np.ndarray, y: np.ndarray) -> float:
    moments = []
    for values in (x, y):
        moments.append(Moments(values.shape[1]))
        for start in range(0, len(values), 500):
            moments[-1].add(values[start : start + 500])
    return frechet_distance(*moments)


def rows() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for n, d in ((2_000, 2_048), (10_000, 512)):
        x = rng.normal(size=(n, d)).astype(np.float32)
        y = x + (x @ rng.normal(size=(d, d)) / 30).astype(np.float32)
        what = f"debiased CKA {n:,} x {d:,}"
        yield what, "numpy, closed form", lambda x=x, y=y: closed_cka(x, y), lambda x=x, y=y: linear_cka(x, y)
        try:
            import ckatorch.core
            import torch
        except ImportError:
            continue
        a, b = torch.from_numpy(x), torch.from_numpy(y)
        yield (
            what,
            "ckatorch",
            lambda a=a, b=b: ckatorch.core.cka_base(a, b, kernel="linear", unbiased=True, method="hsic"),
            lambda x=x, y=y: linear_cka(x, y),
        )
    table = rng.normal(size=(30, 1)) + rng.normal(size=(30, 20))
    yield (
        "10,000 bootstrap matrices of Pearson's r, 30 x 20",
        "numpy, hand-batched",
        lambda: batched_bootstrap(table, 10_000),
        lambda: bootstrap_correlations(table, resamples=10_000),
    )
    mixing = rng.normal(size=(768, 768)) / np.sqrt(768)
    p, q = (rng.normal(size=(5_000, 768)) @ mixing + shift for shift in (0.0, 0.05))
    yield "Fréchet distance 5,000 x 768", "numpy, Cholesky", lambda: plain_frechet(p, q), lambda: our_frechet(p, q)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print("| what | peer | peer, s | virb, s | peer / virb |\n|---|---|---|---|---|")
    for what, peer, theirs, ours in rows():
        taken = [(seconds(theirs), seconds(ours)) for _ in range(args.repeats)]
        a, b = (statistics.median(side) for side in zip(*taken, strict=True))
        ratio = statistics.median(t / o for t, o in taken)
        print(f"| {what} | {peer} | {a:.3f} | {b:.3f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
