"""What virb computes beside other implementations of the same number: plain ones, and published packages where installed.

Each row times both sides in turn in this process and prints the peer's time over ours, the median of the ratios: above 1,
ours is faster. What the two give is compared first. Published packages: pip install 'virb[peers]'.

Run: OMP_NUM_THREADS=1 python benchmarks/peers.py [--repeats 5] [--only knn]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import neighbours
import numpy as np
import penalties
import scipy.linalg
import scipy.stats
import torch

from virb.probes import knn
from virb.stats import frechet_distance, linear_cka, paired_permutation_test
from virb.stats.bootstrap import bootstrap_correlations
from virb.stats.distances import Moments
from virb.system.threads import one_thread

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


def torchmetrics_frechet(x: np.ndarray, y: np.ndarray) -> float:
    from torchmetrics.image.fid import _compute_fid

    sides = [torch.from_numpy(values) for values in (x, y)]
    (s, t), (u, v) = ((side.mean(dim=0), side.T.cov()) for side in sides)
    return float(_compute_fid(s, t, u, v))


def torch_fidelity_frechet(x: np.ndarray, y: np.ndarray) -> float:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    sides = [fid_features_to_statistics(torch.from_numpy(values)) for values in (x, y)]
    return float(fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"])


def lightly_votes(train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    """The ranked classes (M, classes), a batch of lightly's size at a time."""
    from lightly.utils.benchmarking import knn_predict

    bank, asked = (torch.nn.functional.normalize(torch.from_numpy(side), dim=1) for side in (train, test))
    bank, known = bank.T.contiguous(), torch.from_numpy(labels)
    parts = [knn_predict(part, bank, known, classes, knn.K, knn.TEMPERATURE) for part in asked.split(256)]
    return torch.cat(parts).numpy()


def faiss_votes(train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    import faiss

    bank, asked = (np.ascontiguousarray(side / np.linalg.norm(side, axis=1, keepdims=True)) for side in (train, test))
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    near, which = index.search(asked, knn.K)
    said = knn.votes(torch.from_numpy(near), torch.from_numpy(labels[which]), classes)
    return said.numpy()


def neighbour_rows() -> Iterator[Row]:
    """The vote of the 20 nearest of 50,000 for each of 5,000, D = 512."""
    rng = np.random.default_rng(0)
    n, m, classes = 50_000, 5_000, 10
    train, test = (rng.normal(size=(k, 512)).astype(np.float32) for k in (n, m))
    labels = rng.integers(0, classes, n)
    tensors = torch.from_numpy(train), torch.from_numpy(labels), torch.from_numpy(test)
    frames = np.arange(n)[:, None], np.arange(m)[:, None]

    def ours() -> np.ndarray:
        return knn.classify(train, frames[0], labels, test, frames[1], n_classes=classes)

    expected = ours().argmax(axis=1)
    peers: list[tuple[str, str, Callable[[], np.ndarray]]] = [
        ("a plain blocked loop", "torch", lambda: neighbours.loop(*tensors, classes).argmax(axis=1)),
        ("lightly", "lightly", lambda: lightly_votes(train, labels, test, classes)[:, 0]),
        ("faiss, flat", "faiss", lambda: faiss_votes(train, labels, test, classes).argmax(axis=1)),
    ]
    for peer, package, theirs in peers:
        if find_spec(package) is None:
            continue
        agree = float((theirs() == expected).mean())
        assert agree > 0.999, (peer, agree)
        yield f"knn, {n:,} x {m:,}, D = 512", peer, theirs, ours
    # What no exact method can do without: the similarities.
    yield f"knn, {n:,} x {m:,}, D = 512", "the product alone", lambda: neighbours.product(tensors[0], tensors[2]), ours


def statistic_rows() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for n, d in ((2_000, 2_048), (10_000, 512)):
        x = rng.normal(size=(n, d)).astype(np.float32)
        y = x + (x @ rng.normal(size=(d, d)) / 30).astype(np.float32)
        what = f"debiased CKA {n:,} x {d:,}"
        yield what, "numpy, closed form", lambda x=x, y=y: closed_cka(x, y), lambda x=x, y=y: linear_cka(x, y)
        if find_spec("ckatorch") is None:
            continue
        import ckatorch.core

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
    distances: list[tuple[str, str, Callable[[np.ndarray, np.ndarray], float]]] = [
        ("numpy, Cholesky", "numpy", plain_frechet),
        ("torchmetrics", "torchmetrics", torchmetrics_frechet),
        ("torch-fidelity", "torch_fidelity", torch_fidelity_frechet),
    ]
    for peer, package, theirs in distances:
        if find_spec(package) is not None:
            np.testing.assert_allclose(theirs(p, q), our_frechet(p, q), rtol=1e-3)
            yield "Fréchet distance 5,000 x 768", peer, lambda of=theirs: of(p, q), lambda: our_frechet(p, q)
    target = rng.integers(0, 101, 25_250)
    a, b = (np.where(rng.random(len(target)) < 0.7, target, 0) for _ in range(2))

    def binomial() -> float:
        first, second = (a == target) & (b != target), (a != target) & (b == target)
        return float(scipy.stats.binomtest(int(first.sum()), int(first.sum() + second.sum())).pvalue)

    assert abs(binomial() - paired_permutation_test(target, a, b).pvalue) < 1e-9
    yield (
        "exact p of two top-1 on 25,250 examples",
        "scipy's binomtest",
        binomial,
        lambda: paired_permutation_test(target, a, b),
    )


def penalty_rows() -> Iterator[Row]:
    for dim in (64, 512):
        x, y = penalties.features(4_000, dim, 10)
        yield (
            f"45 penalties of a logistic regression, 4,000 x {dim}, gradient 1e-8",
            "scikit-learn, warm starts",
            lambda x=x, y=y: penalties.theirs(x, y, 10, 1e-8),
            lambda x=x, y=y: penalties.ours(x, y, 10, 1e-8),
        )


ROWS = {"knn": neighbour_rows, "statistics": statistic_rows, "penalties": penalty_rows}


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()  # what other programs take of the machine counts for neither side
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=tuple(ROWS), help="one group of rows")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| what | peer | peer, s | virb, s | peer / virb |\n|---|---|---|---|---|")
    for group in [args.only] if args.only else ROWS:
        for what, peer, theirs, ours in ROWS[group]():
            with one_thread():
                taken = [(seconds(theirs), seconds(ours)) for _ in range(args.repeats)]
            a, b = (statistics.median(side) for side in zip(*taken, strict=True))
            ratio = statistics.median(t / o for t, o in taken)
            print(f"| {what} | {peer} | {a:.4g} | {b:.4g} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
