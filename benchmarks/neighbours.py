"""The probe knn against a plain blocked loop and the products alone, side by side in one process, one thread each.

The loop keeps everything in memory, multiplies blocks of the test split with all of train and takes torch.topk of whole rows;
it leaves open which of equal neighbours it takes. Ours reads files larger than memory and decides ties by the order of train.

Run: OMP_NUM_THREADS=1 python benchmarks/neighbours.py [--n 50000] [--n-test 5000] [--dim 512] [--classes 10] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from virb.probes import knn
from virb.system.threads import one_thread


def loop(train: torch.Tensor, labels: torch.Tensor, test: torch.Tensor, classes: int) -> np.ndarray:
    columns, out = F.normalize(train, dim=1).T.contiguous(), []
    for block in F.normalize(test, dim=1).split(512):
        near, index = (block @ columns).topk(knn.K, dim=1)
        weights = (near / knn.TEMPERATURE).softmax(dim=1)
        out.append(torch.zeros(len(block), classes).scatter_add_(1, labels[index], weights))
    return torch.cat(out).numpy()


def product(train: torch.Tensor, test: torch.Tensor) -> None:
    columns = train.T.contiguous()
    for block in test.split(1000):
        block @ columns


def seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("n", 50_000), ("n-test", 5000), ("dim", 512), ("classes", 10), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(n, args.dim)).astype(np.float32) for n in (args.n, args.n_test))
    labels = rng.integers(0, args.classes, args.n)
    x, y, asked = torch.from_numpy(train), torch.from_numpy(labels), torch.from_numpy(test)

    def ours() -> np.ndarray:
        frames, wanted = np.arange(args.n)[:, None], np.arange(args.n_test)[:, None]
        return knn.classify(train, frames, labels, test, wanted, n_classes=args.classes)

    with one_thread(), torch.inference_mode():
        difference = float(np.abs(ours() - loop(x, y, asked, args.classes)).max())
        runs = {
            "ours": ours,
            "plain loop": lambda: loop(x, y, asked, args.classes),
            "product": lambda: product(x, asked),
        }
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(args.rounds):
            for name, run in runs.items():
                found[name].append(seconds(run))
    for name, times in found.items():
        ratio = statistics.median(a / b for a, b in zip(times, found["ours"], strict=True))
        print(f"{name}: {statistics.median(times):.2f} s, {ratio:.2f} of ours")
    print(f"largest difference of a vote between ours and the loop: {difference:.1e}")


if __name__ == "__main__":
    main()
