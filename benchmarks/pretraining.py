"""What reading and augmenting the images adds to a pretraining step: the real Trainer against the same step on tensors.

Both sides run ``virb.pretraining.trainer.Trainer`` with the same network, loss and optimiser, each in a process of its own, in
turn. "real" draws SimCLR's views from images in the cache's format (a mapped file); "synthetic" is given the same two
batches of random tensors in every step. What the views take on the training thread is measured inside the real side too.

Run: python benchmarks/pretraining.py [--method simclr] [--arch resnet18] [--size 64] [--batch 64] [--steps 2] [--threads 1]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sides
import torch

from virb import registry
from virb.contracts.method import Setup
from virb.networks.backbones import build_backbone
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.trainer import Trainer
from virb.system.allocator import keep_freed_memory
from virb.training import augment


def side(args: argparse.Namespace) -> sides.Work:
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    method = registry.load("methods", args.method)
    assert method.learner is not None
    assert method.training is not None
    n = max(4 * args.batch, 1024)
    place = Path(tempfile.mkdtemp(prefix="virb-benchmark-"))
    np.save(
        place / "images.npy", np.random.default_rng(0).integers(0, 256, (n, args.size, args.size, 3), dtype=np.uint8)
    )
    pixels = ArrayPixels(np.load(place / "images.npy", mmap_mode="r"))
    labels = np.arange(n) % 10
    data = PretrainingData("noise", "noise", pixels, np.arange(n), args.size, labels, tuple(map(str, range(10))))
    setup = Setup(
        args.size, n, 10, args.batch, args.steps, n // args.batch, augment.IMAGENET_MEAN, augment.IMAGENET_STD
    )
    spent = {"views": 0.0}
    turn = 0

    def run() -> dict[str, Any]:
        nonlocal turn
        turn += 1
        torch.manual_seed(0)
        learner = method.learner(build_backbone(args.arch), method.resolve([]), setup)
        views = learner.views
        if args.side == "synthetic":
            fixed = views(torch.from_numpy(data.batch(np.arange(args.batch))), torch.Generator().manual_seed(0))
            learner.views = lambda images, generator: fixed
        else:

            def timed(images: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
                start = time.thread_time()
                found = views(images, generator)
                spent["views"] += time.thread_time() - start
                return found

            learner.views = timed
        plan = Plan(method.training, lr=0.1, steps=args.steps, batch_size=args.batch, checkpoint_s=1e9, log_steps=10**9)
        trainer = Trainer(learner, data, plan, folder=place / f"{turn}", identity={})
        spent["views"] = 0.0
        start = time.process_time()
        update, updates = trainer._update, []

        def counted(*given: Any) -> Any:
            since = time.process_time()
            found = update(*given)
            updates.append(time.process_time() - since)
            return found

        trainer._update = counted
        with Reporter("benchmark", quiet=True) as reporter:
            trainer.run(reporter)
        whole = time.process_time() - start
        return {"views": spent["views"] / args.steps, "update": sum(updates) / args.steps, "whole": whole / args.steps}

    return run


def main() -> None:
    parser = sides.parser(__doc__, arch="resnet18", size=64, repeats=2, warm_up=0)
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.side:
        sides.serve(side(args))
        return
    spent = sides.compare(("real", "synthetic"), repeats=args.repeats, warm_up=args.warm_up)
    real, synthetic = spent["real"], spent["synthetic"]
    print(f"{args.method}, {args.arch}, {args.size} px, batches of {args.batch}, {args.threads} thread(s)")
    for name, one in spent.items():
        print(
            f"{name:9}  {one.found['update']:6.3f} processor seconds an update, {one.s / args.steps:6.2f} s by the clock"
        )
    views = real.found["views"]
    print(
        f"real / synthetic: {real.found['update'] / synthetic.found['update']:.3f} in processors' time of the updates, "
        f"{real.s / synthetic.s:.3f} by the clock with start and checkpoint; the views alone take {views:.3f} s, "
        f"{views / (real.found['update'] - views):.1%} of the rest of the step"
    )


if __name__ == "__main__":
    main()
