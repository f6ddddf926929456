"""Pixelwise tasks: an epoch with the encoder's maps in the cache against one that computes them, and equal scores.

The same task runs twice through ``virb.evaluation.run``: once with maps on disk (--cache-gb as by default), once with a
budget of 0, where each epoch computes them anew. Beside them a plain loop of PyTorch that computes the maps once and keeps
them in memory as float32. U-Net and DeepLabv3+ heads; random images and class maps. Seconds are one thread's, so that the
machine's load falls on all alike.

Run: python benchmarks/dense.py [--arch resnet18] [--size 64] [--images 64] [--epochs 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from virb.contracts.examples import DataContext, Examples
from virb.contracts.options import RunOptions
from virb.contracts.task import Category, Protocol, Task
from virb.convert.load import load_encoder
from virb.evaluation import run as evaluation
from virb.evaluation.parts import parts_of
from virb.images.sets import ArrayImages
from virb.networks.encoder import FrozenEncoder
from virb.probes import dense, dense_sources
from virb.records.store import ResultStore
from virb.system.allocator import keep_freed_memory
from virb.system.threads import one_thread

N_CLASSES = 8


def task(head: str, epochs: int, n: int, size: int) -> Task:
    def read(context: DataContext, split: str) -> Examples:
        rng = np.random.default_rng(split == "test")
        count = n if split == "train" else max(2, n // 4)
        coarse = rng.integers(0, N_CLASSES, (count, 8, 8))
        masks = coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2)
        noise = rng.integers(0, 64, (*masks.shape, 3))
        images = (masks[..., None] * [20, 11, 5] + noise).astype(np.uint8)
        ids = [str(k) for k in range(count)]
        return Examples(ArrayImages.of(f"masks-{split}", images), np.arange(count)[:, None], masks, ids)

    return Task(
        name=f"masks-{head}",
        summary="which class a pixel has",
        category=Category.SEMANTIC_PIXEL,
        head=head,
        loss="cross_entropy",
        metric="miou",
        data=read,
        classes=N_CLASSES,
        protocol=Protocol(epochs=epochs, batch_size=16),
    )


def plain_epoch(encoder: FrozenEncoder, of: Task, epochs: int) -> float:
    """Return the seconds of an epoch of a loop that keeps every map in memory."""
    parts, examples = parts_of(of), of.examples(DataContext(), "train")
    layer = f"pyramid{parts.head.output_stride}" if parts.head.output_stride else "pyramid"
    x = torch.stack([torch.from_numpy(examples.images.image(k).copy()) for k in range(len(examples))])
    with one_thread():
        batches = [dense_sources.compute_layers(encoder, encoder.prepare(part), {layer})[layer] for part in x.split(64)]
        maps = [torch.cat(level) for level in zip(*batches, strict=True)]
        targets = torch.from_numpy(np.stack([examples.targets[k] for k in range(len(examples))]))
        head = parts.build_head(encoder, 0).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.Adam(head.parameters(), lr=of.protocol.lr)
        start = time.thread_time()
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(of.protocol.batch_size):
                output = head([level[rows] for level in maps], targets.shape[1:])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(output, targets[rows]).backward()
                optimizer.step()
        return (time.thread_time() - start) / epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    args = parser.parse_args()
    keep_freed_memory()
    source = f"random:{args.arch}:size={args.size}"
    encoder = load_encoder(source)
    n_looks = 0
    spent_looking = 0.0
    look = dense_sources.compute_layers

    def counted(*arguments):
        nonlocal n_looks, spent_looking
        start = time.thread_time()
        found = look(*arguments)
        n_looks += 1
        spent_looking += time.thread_time() - start
        return found

    dense_sources.compute_layers = counted
    step = dense.train_dense_head
    trained: dict[str, float] = {}

    def timed(*arguments, **options):
        start = time.thread_time()
        head = step(*arguments, **options)
        trained["s"] = time.thread_time() - start
        return head

    dense.train_dense_head = timed
    for head in ("unet", "deeplabv3plus"):
        scores, epochs, looks = [], [], []
        for is_counted, cache_gb in ((False, 0.0), (True, RunOptions.cache_gb), (True, 0.0)):
            n_looks, spent_looking = 0, 0.0
            with tempfile.TemporaryDirectory() as place:
                outcome = evaluation.run(
                    [encoder],
                    [task(head, args.epochs, args.images, args.size)],
                    context=DataContext(cache=Path(place) / "cache"),
                    options=RunOptions(out=str(Path(place) / "results"), device="cpu", cache_gb=cache_gb),
                )
                assert not outcome.failures, outcome.failures
                (record,) = ResultStore(Path(place) / "results").records()
                on_disk = sum(f.stat().st_size for f in (Path(place) / "cache").rglob("level*.npy"))
            if not is_counted:  # the first run of a head is slower: imports, kernels being chosen
                continue
            scores.append(record["score"])
            epochs.append(trained["s"] / args.epochs)
            looks.append(n_looks)
            if cache_gb:
                per_image = on_disk / (args.images + max(2, args.images // 4))
        assert looks[0] == 0, "a cached epoch ran the encoder"
        assert abs(scores[0] - scores[1]) < 1e-6, f"scores differ: {scores}"
        print(
            f"{head}, {args.arch} at {args.size} px, {args.images} images: an epoch cached {epochs[0]:.2f} s, computed "
            f"{epochs[1]:.2f} s; ratio {epochs[1] / epochs[0]:.2f}; the encoder ran {looks[0]} and {looks[1]} times; "
            f"scores {scores[0]:.6f} and {scores[1]:.6f}{' (equal)' if scores[0] == scores[1] else ''}; maps "
            f"{per_image / 1e6:.2f} MB an image on disk"
        )
        plain = plain_epoch(encoder, task(head, args.epochs, args.images, args.size), args.epochs)
        print(f"  a plain loop with all maps in memory: {plain:.2f} s; / cached: {plain / epochs[0]:.2f}")


if __name__ == "__main__":
    main()
