"""Every pretraining method against the untrained network: is what it learns above the floor?

    python benchmarks/above_untrained.py [--methods byol,pirl] [--seeds 3] [--images 120000] [--split train] [--scores FILE.json]

Small trainings from the same first weights (ssl_training.py says of which network) on the 6,000 pretraining images of
objects, or on a quarter of them where a method gains more from seeing an image again; ``--images`` gives all another length. The
score is the accuracy of nearest neighbours among the 1,000 test images of mini-object-class, each left out in turn. Settings
are those of a small network on few images; four of the methods are in pretrain/recipes/study.yaml with the same, which were
chosen by the same score of the 1,800 training images (``--split train``). At their published ones, meant for 256 to 4,096
images an update and hundreds of epochs of ImageNet, most methods need far longer than this.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ssl_training import BATCH_SIZE, Score, Scores, arguments, difference, spread, train, untrained


@dataclass(frozen=True)
class Run:
    """How a method is trained here: its options (published ones where nothing is said), images seen, other settings."""

    options: dict[str, Any]
    images: int = 120_000
    settings: dict[str, Any] = field(default_factory=dict)


# SimCLR's jitter of .8 and the blur of half the views take too much from a picture of 48 px.
MILD = {"min_crop": 0.2, "jitter": "0.4,0.4,0.4,0.1", "blur_p": "0.1", "solarize_p": "0"}
# A ResNet that begins as an identity needs longer than this to be more than its stem.
FULL = {**MILD, "zero_init_residual": False}
# MoCo v1's own views: a stronger jitter of the hue, always, and no blur.
MOCO = {"queue": 2048, "momentum": 0.99, "bn_groups": 2, "jitter": "0.4,0.4,0.4,0.4", "jitter_p": 1.0, "blur_p": 0.0}
# What some gain most from is to see an image again: a quarter of the images, 80 times instead of 20.
FEW = {"subset": "quarter"}
# Methods without negatives need updates more than images: batches of 32 instead of 128.
OFTEN = {**FEW, "batch_size": 32, "lr": 0.001}

RUNS = {
    "simclr": Run({"temperature": 0.2, "min_crop": 0.2, "blur_p": 0.2}),
    "moco-v1": Run({**MOCO, "temperature": 0.2}),
    "moco-v2": Run(MOCO),
    "moco-v3": Run({**FULL, "temperature": 0.2, "hidden_dim": 512, "projection_dim": 128, "momentum": 0.98}, settings=FEW),
    "swav": Run(
        {
            **MILD, "prototypes": 100, "epsilon": 0.03, "hidden_dim": 0, "freeze_epochs": 0.2, "queue": -1,
            "small_crops": 0, "crop_split": 0.2,
        }
    ),
    "pirl": Run({"min_crop": 0.2, "projection": "nonlinear", "temperature": 0.2}, settings=FEW),
    "byol": Run({**MILD, "hidden_dim": 512, "projection_dim": 128, "momentum": 0.99}, settings=OFTEN),
    "simsiam": Run({**FULL, "projection_dim": 512, "bottleneck_dim": 128}, settings=OFTEN),
    "barlow-twins": Run({**FULL, "projection_dim": 512, "lambd": 0.01}, settings=FEW),
    "vicreg": Run({**FULL, "projection_dim": 512}, settings=FEW),
    "dino": Run(
        {
            **MILD, "prototypes": 512, "hidden_dim": 512, "bottleneck_dim": 64, "small_crops": 2, "crop_split": 0.2,
            "momentum": 0.99, "freeze_epochs": 0.2,
        },
        settings=OFTEN,
    ),
    "supervised": Run({"augment": "crop+flip+jitter+gray", "min_crop": 0.3}),
}  # fmt: skip


def main() -> None:
    args = arguments(__doc__, list(RUNS), images=None, split="test")
    score, scores, seeds = Score(args.split), Scores(args.scores), range(args.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        floor = [
            scores.get(f"untrained, {args.split}, seed {k}", lambda k=k: score(untrained(folder, k))) for k in seeds
        ]
        print("| method | images seen | updates | nearest neighbours | less untrained |\n|---|---|---|---|---|")
        print(f"| untrained | 0 | 0 | {spread(floor)} | |", flush=True)
        for method in args.methods:
            how = RUNS[method]
            images = args.images or how.images
            found = []
            for k in seeds:
                others = {"subset": None, **how.settings}
                run = partial(train, method, folder, seed=k, images=images, options=how.options, others=others)
                what = f"{method}, {args.split}, {images} images, {how.settings}, {how.options}, seed {k}"
                found.append(scores.get(what, lambda run=run: score(run())))
            updates = images // how.settings.get("batch_size", BATCH_SIZE)
            print(f"| {method} | {images:,} | {updates:,} | {spread(found)} | {difference(found, floor)} |", flush=True)


if __name__ == "__main__":
    main()
