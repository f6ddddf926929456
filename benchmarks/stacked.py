"""Heads of one shape trained as one batched problem: 32 of them against one, on one core, and one in plain PyTorch.

Run: python benchmarks/stacked.py [--heads 32] [--encoders 32] [--n 4000] [--epochs 5] [--shapes 128x5,128x16,512x10]
     python benchmarks/stacked.py --shapes 512x10,2048x10,2048x100 --n 640 --encoders 8   # four seeds of each
     python benchmarks/stacked.py --heads 4 --encoders 1 --grid   # the four settings of virb tune
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from virb.contracts.task import Protocol
from virb.evaluation.tuning import GRID
from virb.heads import build_head, find_head
from virb.losses import find_loss
from virb.probes import gradient
from virb.system.allocator import keep_freed_memory


def plain(features: np.ndarray, targets: np.ndarray, n_classes: int, protocol: Protocol) -> None:
    head = torch.nn.Linear(features.shape[1], n_classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=protocol.lr)
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    for _ in range(protocol.epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), protocol.batch_size):
            chosen = order[start : start + protocol.batch_size]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(x[chosen]), y[chosen]).backward()
            optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--encoders", type=int, help="how many sets of features they share (default: one a head)")
    parser.add_argument(
        "--grid", action="store_true", help="let the heads' optimisers and rates go through virb tune's"
    )
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--shapes", default="128x5,128x16,512x10", help="embedding's length x classes, separated by commas"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    protocol = Protocol(epochs=args.epochs)
    rng = np.random.default_rng(0)
    steps = args.epochs * -(-args.n // protocol.batch_size)
    frames = np.arange(args.n)[:, None]
    n_sets = args.encoders or args.heads
    print(
        f"{args.n:,} examples, batches of {protocol.batch_size}, {args.heads} heads on {n_sets} encoders; "
        "processor microseconds a step"
    )
    for shape in args.shapes.split(","):
        dim, n_classes = map(int, shape.split("x"))
        sets = [rng.standard_normal((args.n, dim), dtype=np.float32) for _ in range(n_sets)]
        features = [sets[k % n_sets] for k in range(args.heads)]
        targets = rng.integers(0, n_classes, args.n)

        def train(n_heads: int, features=features, targets=targets, dim=dim, n_classes=n_classes) -> None:
            gradient.train_heads(
                lambda seed: build_head("linear", n_out=n_classes, dim=dim, seed=seed),
                features[:n_heads],
                frames,
                targets,
                head=find_head("linear"),
                loss=find_loss("cross_entropy"),
                seeds=range(n_heads),
                protocol=protocol,
                settings=[GRID[k % len(GRID)] for k in range(n_heads)] if args.grid else None,
            )

        ways: dict[str, Callable[[], None]] = {
            "plain": lambda f=features, t=targets, k=n_classes: plain(f[0], t, k, protocol),
            "one": lambda: train(1),
            "many": lambda: train(args.heads),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, way in ways.items():
                start = time.process_time()
                way()
                spent[name].append(1e6 * (time.process_time() - start) / steps)
        one, many, alone = (statistics.median(spent[name]) for name in ("one", "many", "plain"))
        print(
            f"D = {dim:5,}, K = {n_classes:3}: one head {one:6,.0f} (plain PyTorch {alone:6,.0f}), {args.heads} heads "
            f"{many:7,.0f}; ratio {many / one:4.1f}, {many / alone:4.1f} of plain"
        )


if __name__ == "__main__":
    main()
