"""The linear layers of many encoders on dense features against the plain loop around one frozen encoder.

``virb.evaluate(..., probe="linear-dense")`` of N encoders, that is encode once, train all layers and score them, against what
one writes for one of them: in each epoch the frozen encoder on each batch, BatchNorm and a 1x1 convolution, AdamW. That loop
runs once, to the end, and counts N times. Both use the same forward pass, images and steps; seconds are of processors.

Run: python benchmarks/linear_dense.py [--encoders 8] [--arch resnet18:width=0.25] [--size 64] [--images 512] [--epochs 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dense import N_CLASSES, task
from torch import nn

import virb
from virb.contracts.examples import DataContext
from virb.contracts.metric import TargetFacts
from virb.contracts.task import Task
from virb.convert.load import load_encoder
from virb.features.cache import compute_layers
from virb.metrics import find_metric
from virb.system.allocator import keep_freed_memory

HEAD = "deeplabv3plus"  # which the probe does not ask


def plain_loop(source: str, made: Task) -> float:
    """Train one linear layer on a frozen encoder as one would by hand, and return its mIOU."""
    encoder = load_encoder(source)
    splits = {split: made.examples(DataContext(), split) for split in ("train", "test")}

    def batch(split: str, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(np.stack([splits[split].images.image(int(row)) for row in rows]))
        with torch.inference_mode():
            maps = compute_layers(encoder, encoder.preprocess.normalise(images), {"pyramid16"})["pyramid16"]
        return maps[-1].clone(), torch.from_numpy(splits[split].targets[rows].astype(np.int64))

    torch.manual_seed(0)
    head = nn.Sequential(nn.BatchNorm2d(encoder.channels[-1]), nn.Conv2d(encoder.channels[-1], N_CLASSES, 1))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-4)
    n, size = len(splits["train"]), made.protocol.batch_size
    steps = made.protocol.epochs * -(-n // size)
    warmup = steps * 1500 / 40_000
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: k / warmup if k < warmup else (steps - k) / (steps - warmup)
    )
    for _ in range(made.protocol.epochs):
        for rows in np.array_split(torch.randperm(n).numpy(), -(-n // size)):
            maps, wanted = batch("train", rows)
            outputs = F.interpolate(head(maps), size=wanted.shape[1:], mode="bilinear")
            optimizer.zero_grad()
            F.cross_entropy(outputs, wanted).backward()
            optimizer.step()
            scheduler.step()
    state = find_metric(made.metric).state(TargetFacts(N_CLASSES))
    with torch.no_grad():
        for rows in np.array_split(np.arange(len(splits["test"])), 4):
            maps, wanted = batch("test", rows)
            outputs = F.interpolate(head.eval()(maps), size=wanted.shape[1:], mode="bilinear")
            state.update(outputs, wanted.numpy())
    return float(state.score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoders", type=int, default=8)
    parser.add_argument("--arch", default="resnet18:width=0.25")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    keep_freed_memory()
    made = task(HEAD, args.epochs, args.images, args.size)
    separator = "," if ":" in args.arch else ":"
    sources = [f"random:{args.arch}{separator}size={args.size},seed={k}" for k in range(args.encoders)]
    plain_loop(sources[0], task(HEAD, 1, 16, args.size))  # kernels are chosen, modules imported
    with tempfile.TemporaryDirectory() as place:
        context = DataContext(cache=Path(place) / "cache")
        start = time.process_time()
        table = virb.evaluate(
            sources, [made], data=context, out=Path(place) / "results", device="cpu", probe="linear-dense"
        )
        ours = time.process_time() - start
    start = time.process_time()
    score = plain_loop(sources[0], made)
    theirs = time.process_time() - start
    print(
        f"{args.encoders} encoders {args.arch} at {args.size} px, {args.images} images, {args.epochs} epochs: linear-dense {ours:.1f} s "
        f"of processors; the plain loop {theirs:.1f} s for one, {args.encoders * theirs:.1f} s for all; ratio "
        f"{args.encoders * theirs / ours:.1f}; mIOU of the first {table['score'].iloc[0]:.4f} and {score:.4f}"
    )


if __name__ == "__main__":
    main()
