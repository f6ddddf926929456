"""What the comparisons of pretraining methods share: one small training, and a nearest-neighbour score of it.

A ResNet-18 of a quarter of the usual width learns from a quarter of the rendered world's objects (1,500 images, whose
labels only balance the quarter) in 48 px views; the score is the leave-one-out accuracy of a vote of 20 neighbours by
cosine on the 2,800 other images of objects, of twelve classes, at 64 px. Settings are those of
pretrain/recipes/reference.yaml where a method has them. So few images because a short training should be many epochs:
methods with a memory of every image match it to what it was an epoch ago.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from virb.tasks import world

from virb.convert.load import load_encoder
from virb.networks.encoder import FrozenEncoder
from virb.pretraining import runs, sources, watch
from virb.pretraining.data import PretrainingData
from virb.pretraining.settings import Settings
from virb.system.allocator import keep_freed_memory

ARCH, ARCH_OPTIONS = "resnet18", {"width": 0.25}
DATA, SUBSET = "world-objects", "quarter"
SIZE, VIEW_SIZE = 64, 48
BATCH_SIZE, LR, WEIGHT_DECAY = 128, 0.003, 1e-4


def arguments(
    description: str | None, names: Sequence[str], *, images: int | None = 40960, split: str | None = None
) -> argparse.Namespace:
    """Read the command line that the comparisons have; with a ``split``, also which images are scored."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(names), help=f"some of {','.join(names)}")
    parser.add_argument("--images", type=int, default=images, help="images seen in a training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scores", help="a JSON file that keeps the scores, to go on after an interruption")
    if split:
        parser.add_argument("--split", default=split, choices=("train", "test"), help="the images that are scored")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    args.methods = args.methods.split(",")
    if args.seeds < 2:
        parser.error("at least two seeds are needed: without a spread nothing can be compared")
    unknown = sorted(set(args.methods) - set(names))
    if unknown:
        parser.error(f"unknown {unknown[0]!r}; expected some of {','.join(names)}")
    return args


def training_images(subset: str | None) -> PretrainingData:
    """Return the images that a training sees, which are the same for every seed."""
    data = sources.load(DATA)
    return data if subset is None else data.subset(subset)[0]


def settings(
    method: str,
    out: Path,
    *,
    seed: int,
    images: int,
    options: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
) -> Settings:
    """Return a training's settings: the same for every method but for its ``options``, and ``others`` that replace some."""
    shared = Settings(
        method=method,
        out=out,
        data=DATA,
        subset=SUBSET,
        arch=ARCH,
        arch_options=ARCH_OPTIONS,
        options=options,
        budget=images,
        batch_size=BATCH_SIZE,
        size=SIZE,
        view_size=VIEW_SIZE,
        seed=seed,
        device="cpu",
        optimizer="adamw",
        lr=LR,
        weight_decay=WEIGHT_DECAY,
        warmup_epochs=1,
        schedule="cosine",
    )
    return dataclasses.replace(shared, **(others or {}))


def untrained(folder: Path, seed: int) -> FrozenEncoder:
    """Return the network as every training of this seed begins."""
    out = folder / f"random-{seed}.pt"
    made = Settings(method="random", out=out, arch=ARCH, arch_options=ARCH_OPTIONS, size=SIZE, seed=seed)
    runs.pretrain(made, force=True, quiet=True)
    return load_encoder(out)


def train(how: Settings) -> FrozenEncoder:
    """Return what `virb pretrain` makes of it."""
    runs.pretrain(how, force=True, quiet=True)
    return load_encoder(how.out)


class Score:
    """Accuracy of nearest neighbours on labelled images that no training saw, those of ``splits``."""

    def __init__(self, *splits: str) -> None:
        parts = [world.load("objects", split) for split in splits or ("train", "test")]
        self.images = torch.cat([torch.from_numpy(part.images.copy()) for part in parts])
        self.label = torch.cat([torch.from_numpy(part.annotation("class_id").copy()) for part in parts]).long()

    def __call__(self, encoder: FrozenEncoder) -> float:
        features = [encoder.embed(encoder.prepare(part)) for part in self.images.split(64)]
        return watch.knn_accuracy(torch.cat(features), self.label, k=20)


class Scores:
    """Scores by name, kept in a JSON file as they come (``--scores``): the same command again goes on from there."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None
        self.found: dict[str, Any] = json.loads(self.path.read_text()) if self.path and self.path.exists() else {}

    def get(self, what: str, compute: Callable[[], Any]) -> Any:
        """Return the score called ``what``, computed if it is not there yet."""
        if what not in self.found:
            start = time.process_time()
            self.found[what] = compute()
            seconds = time.process_time() - start
            said = self.found[what]
            said = f"{said:.4f}" if isinstance(said, float) else said
            print(f"  {what}: {said} ({seconds:.0f} s of CPU time)", file=sys.stderr, flush=True)
            if self.path:
                self.path.write_text(json.dumps(self.found, indent=1))
        return self.found[what]


def spread(scores: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"


def difference(a: Sequence[float], b: Sequence[float]) -> str:
    """Mean of a - b, its standard error from the pairs of one seed, and their ratio."""
    pairs = [x - y for x, y in zip(a, b, strict=True)]
    mean, error = statistics.mean(pairs), statistics.stdev(pairs) / len(pairs) ** 0.5
    return f"{mean:+.4f} ± {error:.4f} (t = {mean / error:+.1f})" if error > 1e-9 else f"{mean:+.4f} ± 0"
