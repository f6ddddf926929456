"""What a paper costs: the arithmetic of docs/scaling.md ("What a run costs") for its encoders and tasks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from virb.contracts.task import Task


@dataclass(frozen=True)
class Card:
    """Rates of a machine. ``reference`` is the encoder that they were measured with: GFLOPs of a forward pass at its size.

    decode, encode, pretrain: images a second; heads: steps of image-level heads a second; job_seconds: of a whole job where
    that is what was measured, ``workers`` at a time.
    """

    decode: float
    encode: float
    heads: float
    pretrain: float
    encode_gflops: float
    pretrain_gflops: float
    source: str
    job_seconds: float | None = None
    workers: int = 1


#: ResNet-50 at 224 px encodes 11,547 images/s, a JPEG is decoded at 985/s, heads make 1,700 steps/s (docs/gpu.md, bf16);
#: SimCLR trains a ResNet-18 at 64 px with 7,642 images/s. In the study in miniature 39 encoders took 120,000 images each in
#: 74 min of a core in all, and 1,092 jobs 56 (docs/study.md).
CARDS = {
    "one H100": Card(985, 11_547, 1_700, 7_642, 4.1, 0.149, "docs/gpu.md; pretraining of other networks is reckoned by FLOPs, not measured"),
    "two cores": Card(
        480, 1_000, 600, 39 * 120_000 / (74 * 60), 0.0052, 0.0052, "docs/study.md, quarter-width ResNet-18s at 64 px", 56 * 60 / 1092, 2
    ),
}  # fmt: skip

#: GFLOPs of a forward pass at 224 px, width 1.
GFLOPS = {
    "resnet18": 1.8, "resnet34": 3.7, "resnet50": 4.1, "resnet101": 7.8, "vit_small_patch16": 4.6, "vit_base_patch16": 17.6,
}  # fmt: skip
MAP_BYTES_224 = 4.6e6  # of a ResNet-50's maps, an image (docs/scaling.md)
MAPS_KEPT = 20e9  # of one task; beyond, they are computed when they are used


@dataclass(frozen=True)
class Cost:
    """Counts of what must be computed, hours on ``card``, and disk. Hours are None where no rate was measured."""

    jobs: int = 0
    forward_passes: int = 0
    head_steps: int = 0
    decoder_examples: int = 0
    pretrain_images: int = 0
    disk_gb: float = 0.0
    evaluate_hours: float = 0.0
    pretrain_hours: float = 0.0
    card: str = ""

    def row(self) -> dict[str, Any]:
        return asdict(self)

    def plus(self, other: Cost) -> Cost:
        """The two together, on this one's card."""
        own, more = self.row(), other.row()
        return Cost(**{key: own[key] if key == "card" else own[key] + more[key] for key in own})


def evaluation_cost(
    n_encoders: int, tasks: Sequence[Task], *, card_name: str, embedding: int, input_px: int, seeds: int = 1
) -> Cost:
    """The cost of E encoders on tasks, image sets counted once for each task that declares its size.

    forward passes: E x sum of images (and, of tasks on crops, epochs x n_train more, at the crop's size); head steps: E x S x
    sum of epochs x n_train / batch; decoder examples: E x S x sum of epochs x n_train of pixelwise tasks.
    """
    card = CARDS[card_name]
    images = passes = steps = examples = 0
    crop_passes = 0.0
    disk = 0.0
    for task in tasks:
        n_train, n_test = (_n(task, split) for split in ("train", "test"))
        n = (n_train + n_test) * task.n_frames
        epochs = task.protocol.epochs
        images += n
        passes += n
        if task.category.is_pixelwise:
            examples += epochs * n_train
            if task.protocol.crop:
                crop_passes += epochs * n_train * task.n_frames * (task.protocol.crop / input_px) ** 2
                passes += epochs * n_train * task.n_frames
            disk += min(n_encoders * n * MAP_BYTES_224 * (input_px / 224) ** 2, MAPS_KEPT)
        elif not task.heads_of:
            steps += task.protocol.steps or epochs * math.ceil(n_train / task.protocol.batch_size)
        disk += 4.0 * embedding * n * n_encoders
    if card.job_seconds is not None:
        hours = n_encoders * len(tasks) * seeds * card.job_seconds / card.workers / 3600
    else:
        encode = n_encoders * (passes - _crops(tasks) + crop_passes) / card.encode
        hours = (images / card.decode + encode + n_encoders * seeds * steps / card.heads) / 3600
    return Cost(
        n_encoders * len(tasks) * seeds, n_encoders * passes, n_encoders * seeds * steps, n_encoders * seeds * examples, 0, disk / 1e9, hours, 0.0,
        card_name,
    )  # fmt: skip


def _n(task: Task, split: str) -> int:
    return int(task.n_examples.get(split, task.n_published.get(split, 0)))


def _crops(tasks: Iterable[Task]) -> int:
    return sum(
        task.protocol.epochs * _n(task, "train") * task.n_frames
        for task in tasks
        if task.category.is_pixelwise and task.protocol.crop
    )


def images_seen(run: Mapping[str, Any], size: int | None) -> int | None:
    """How many images a line of a recipe sees; None where it counts epochs of a set whose size is not known."""
    if run.get("budget"):
        return int(run["budget"])
    epochs = run.get("epochs")
    return None if epochs is None or size is None else round(float(epochs) * size)


def gflops(run: Mapping[str, Any]) -> float:
    """Of a forward pass of a recipe's network at the size of its views."""
    px = run.get("view_size") or run.get("size") or 224
    width = float((run.get("arch_options") or {}).get("width", 1.0))
    stem = (
        16.0 if (run.get("arch_options") or {}).get("stem") == "cifar" else 1.0
    )  # no stride, no pooling: four times as wide and high
    return GFLOPS.get(str(run.get("arch", "resnet18")), 4.1) * width**2 * (px / 224) ** 2 * stem


def pretraining_hours(run: Mapping[str, Any], images: int, card_name: str) -> float:
    """Hours of one run on a card, from the measured rate of one network by the ratio of FLOPs."""
    card = CARDS[card_name]
    return images / card.pretrain * gflops(run) / card.pretrain_gflops / card.workers / 3600
