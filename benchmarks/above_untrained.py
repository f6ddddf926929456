"""Every pretraining method against the untrained network: is what it learns above the floor?

    python benchmarks/above_untrained.py [--methods byol,pirl] [--seeds 3] [--images 120000] [--split train] [--scores FILE.json]

Small trainings from the same first weights (ssl_training.py says of which network) on the 6,000 pretraining images of
objects, or on a quarter of them where a method gains more from seeing an image again; ``--images`` gives all another length. The
score is the accuracy of nearest neighbours among the 1,000 test images of mini-object-class, each left out in turn. Settings
are those of a small network on few images. Those of the methods that pretrain/recipes/study.yaml has are read there; they were
chosen by the same score of the 1,800 training images (``--split train``). At their published ones, meant for 256 to 4,096
images an update and hundreds of epochs of ImageNet, most methods need far longer than this.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_training import BATCH_SIZE, Score, Scores, arguments, difference, settings, spread, train, untrained

from virb.pretraining.recipes import find_recipe, read_recipe
from virb.pretraining.settings import Settings


@dataclass(frozen=True)
class Run:
    """How a method is trained here: its options (published ones where nothing is said), images seen, other settings."""

    options: dict[str, Any]
    images: int = 120_000
    settings: dict[str, Any] = field(default_factory=dict)


STUDY = read_recipe(find_recipe("study"))


def of_study(method: str, **settings: Any) -> Run:
    """The options of pretrain/recipes/study.yaml, which has this method too."""
    return Run(STUDY[f"{method}-objects"]["options"], settings=settings)


# SimCLR's jitter of .8 and the blur of half the views take too much from a picture of 48 px.
MILD = {"min_crop": 0.2, "jitter": "0.4,0.4,0.4,0.1", "blur_p": "0.1", "solarize_p": "0"}
# A ResNet that begins as an identity needs longer than this to be more than its stem.
FULL = {**MILD, "zero_init_residual": False}
# What some gain most from is to see an image again: a quarter of the images, 80 times instead of 20.
FEW = {"subset": "quarter"}
# Without negatives a network first learns what two views have most in common. In small crops of a rendered room that is colour and
# which part is bright, by which nothing is told from anything else; of large crops whose colours and brightness are changed, the shape.
SHAPE = {
    "min_crop": 0.7, "jitter": "0.6,0.6,0.6,0.5", "jitter_p": 1.0, "gray_p": 0.3, "blur_p": "0", "solarize_p": "0.5",
}  # fmt: skip
OFTEN = {"batch_size": 64, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0005}

RUNS = {
    "simclr": of_study("simclr"),
    "moco-v1": Run({**of_study("moco-v2").options, "temperature": 0.2}),
    "moco-v2": of_study("moco-v2"),
    "moco-v3": Run({**FULL, "temperature": 0.2, "hidden_dim": 512, "projection_dim": 128, "momentum": 0.98}, settings=FEW),
    "swav": of_study("swav"),
    "pirl": of_study("pirl", **FEW),
    "byol": Run({**SHAPE, "hidden_dim": 512, "projection_dim": 128, "momentum": 0.98}, settings=OFTEN),
    "simsiam": Run(
        {**FULL, "min_crop": 0.4, "blur_p": "0", "projection_dim": 512, "bottleneck_dim": 128},
        images=240_000,
        settings={**OFTEN, **FEW, "warmup_epochs": 0},
    ),
    "barlow-twins": Run({**FULL, "projection_dim": 512, "lambd": 0.01}, settings=FEW),
    "vicreg": Run({**FULL, "projection_dim": 512}, settings=FEW),
    "dino": Run(
        {
            **MILD, "crop_split": 0.4, "blur_p": "0", "small_crops": 0, "head_norm": True, "prototypes": 1024, "hidden_dim": 512,
            "bottleneck_dim": 64, "freeze_epochs": 4.0, "clip": 0, "momentum": 0.98, "first_teacher_temperature": 0.03,
            "teacher_temperature": 0.03,
        },
        images=240_000,
        settings={**FEW, "batch_size": 64, "lr": 0.002, "warmup_epochs": 4},
    ),
    "supervised": of_study("supervised"),
}  # fmt: skip


def settings_of(method: str, out: Path, *, seed: int, images: int | None) -> Settings:
    """Return the settings of a method's run; ``images`` is another length than its own."""
    how = RUNS[method]
    others = {"subset": None, **how.settings}
    return settings(method, out, seed=seed, images=images or how.images, options=how.options, others=others)


def what_run(method: str, *, split: str, seed: int, images: int | None) -> str:
    """Return what a run's score is called where scores are kept."""
    how = RUNS[method]
    return f"{method}, {split}, {images or how.images} images, {how.settings}, {how.options}, seed {seed}"


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
            found = []
            for k in seeds:
                how = settings_of(method, folder / f"{method}-{k}.pt", seed=k, images=args.images)
                what = what_run(method, split=args.split, seed=k, images=args.images)
                found.append(scores.get(what, lambda how=how: score(train(how))))
            images = args.images or RUNS[method].images
            updates = images // RUNS[method].settings.get("batch_size", BATCH_SIZE)
            print(f"| {method} | {images:,} | {updates:,} | {spread(found)} | {difference(found, floor)} |", flush=True)


if __name__ == "__main__":
    main()
