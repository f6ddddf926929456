"""End tasks on a few pictures in memory, one for each head: what the tests on devices evaluate."""

from __future__ import annotations

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.task import Category, Protocol, Task
from virb.images.sets import ArrayImages

SIDE = 32
N = {"train": 48, "test": 48}


def _pictures(split: str) -> np.ndarray:
    """Noise on a ground whose colour is the class, with a brighter square at a random place."""
    rng = np.random.default_rng(len(split))
    n = N[split]
    ground = np.array([[60, 20, 20], [20, 60, 20], [20, 20, 60], [60, 60, 20]], dtype=np.int16)[np.arange(n) % 4]
    pictures = np.broadcast_to(ground[:, None, None], (n, SIDE, SIDE, 3)).copy()
    for k, (top, left) in enumerate(rng.integers(0, SIDE // 2, (n, 2))):
        pictures[k, top : top + SIDE // 2, left : left + SIDE // 2] += 120
    return np.clip(pictures + rng.integers(0, 40, pictures.shape), 0, 255).astype(np.uint8)


def _examples(kind: str, split: str) -> Examples:
    pictures = _pictures(split)
    n = len(pictures)
    frames, bright = np.arange(n)[:, None], pictures.mean(axis=3) > 90
    if kind in ("frames", "flow"):
        frames = np.stack([np.arange(n), np.roll(np.arange(n), 1)], axis=1)
    targets = {
        "classes": np.arange(n) % 4,
        "frames": (np.arange(n) % 4 > 1).astype(int),
        "segmentation": bright.astype(np.int64),
        "depth": np.where(bright, 2.0, 1.0).astype(np.float32),
        "flow": np.stack([bright * 1.0, bright * -1.0], axis=3).astype(np.float32),
        "crops": bright.astype(np.int64),
    }[kind]
    return Examples(ArrayImages.of("pictures", pictures), frames, targets, [str(k) for k in range(n)])


def task(kind: str, epochs: int = 3) -> Task:
    """Return the task ``kind``: classes, frames (two of them), segmentation, depth, flow or crops."""
    dense = kind not in ("classes", "frames")
    head, loss, metric, classes = {
        "classes": ("linear", "cross_entropy", "top1", 4),
        "frames": ("fusion", "cross_entropy", "top1", 2),
        "segmentation": ("deeplabv3plus", "cross_entropy", "miou", 2),
        "depth": ("unet", "l1", "neg_l1", None),
        "flow": ("siamese_unet", "l1", "neg_epe", None),
        "crops": ("deeplabv3plus", "cross_entropy", "miou", 2),
    }[kind]
    return Task(
        name=f"device-{kind}",
        summary="pictures in memory",
        category=Category.STRUCTURAL_PIXEL if dense else Category.SEMANTIC_IMAGE,
        head=head,
        loss=loss,
        metric=metric,
        data=lambda context, split: _examples(kind, split),
        protocol=Protocol(epochs=epochs, batch_size=16, lr=3e-3, crop=24 if kind == "crops" else None),
        classes=classes,
        n_frames=2 if kind in ("frames", "flow") else 1,
        options={"out_channels": 2} if kind == "flow" else {},
    )
