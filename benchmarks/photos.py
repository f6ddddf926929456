"""JPEG files to measure with: smooth random pictures in an image folder of ten classes, and the task that reads them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from virb.contracts.task import Category, Protocol, Task
from virb.images.folders import image_folder

CLASSES = tuple(f"class{k}" for k in range(10))


def write(root: Path, *, train: int, test: int, side: int = 320) -> Path:
    """Write ``train`` and ``test`` pictures of about ``side`` pixels, as large in bytes as photographs; return ``root``."""
    rng = np.random.default_rng(0)
    for split, n in (("train", train), ("test", test)):
        for k in range(max(n, len(CLASSES))):
            folder = root / split / CLASSES[k % len(CLASSES)]
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (side // 16, side // 12, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((side * 4 // 3, side), Image.Resampling.BICUBIC), dtype=np.int16)
            noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{k:06d}.jpg", quality=90)
    return root


def add_arguments(parser: argparse.ArgumentParser, *, train: int, test: int) -> None:
    """Add what says which pictures are written; ``--data`` tells a side where they lie."""
    parser.add_argument("--train", type=int, default=train)
    parser.add_argument("--test", type=int, default=test)
    parser.add_argument("--pixels", type=int, default=320, help="short side of the JPEG files")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--data", help=argparse.SUPPRESS)


def task(epochs: int, name: str = "photos") -> Task:
    """Return the image-level task on that folder, ten classes and a linear head."""
    return Task(
        name=name,
        summary="which class",
        category=Category.SEMANTIC_IMAGE,
        head="linear",
        loss="cross_entropy",
        metric="top1",
        data=image_folder("photos"),
        classes=CLASSES,
        protocol=Protocol(epochs=epochs),
    )
