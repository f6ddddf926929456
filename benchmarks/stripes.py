"""Crops of 512 against 513 pixels on striped images: features and targets must line up at any size.

Stripes of random widths, dark and light, are the two classes of images of 512 x 1024 pixels. Heads train on random crops and
are scored on whole images, through ``virb.evaluate``; the encoders are not trained. 512 is a multiple of every stride and
513 of none, so a head whose maps were stretched, or cut where their cells do not lie, would lose at the stripes' edges.
tests/evaluation/test_stripes.py holds the same in small.

Run: python benchmarks/stripes.py [--crops 512 513] [--size 512 1024] [--epochs 6] [--encoders resnet18 vit] [--heads deeplabv3plus unet linear-dense-layers]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.images.sets import ArrayImages

ENCODERS = {
    "resnet18": "random:resnet18:width=0.25,size=224",
    "vit": "random:vit:dim=96,depth=2,heads=3,hidden=384,patch=16,size=224",
}
HEADS = ("deeplabv3plus", "unet", "linear-dense-layers")  # two heads of the paper's probe, and a probe of one layer


def stripes(n: int, height: int, width: int, seed: int) -> Examples:
    """Return ``n`` images whose vertical stripes, 20 to 60 pixels wide and 0 and 1 in turn, are lighter where they are 1."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, height, width), np.uint8)
    for mask in masks:
        edges = np.cumsum(rng.integers(20, 61, width // 20))
        mask[:] = (np.searchsorted(edges, np.arange(width), side="right") + rng.integers(0, 2)) % 2
    images = (60 + 90 * masks[..., None] + rng.integers(0, 60, (n, height, width, 3))).astype(np.uint8)
    return Examples(ArrayImages.of(f"stripes-{seed}", images), np.arange(n)[:, None], masks, [str(k) for k in range(n)])


def task(head: str, crop: int, epochs: int, size: tuple[int, int], n: tuple[int, int] = (16, 4)) -> Task:
    """Return the end task on crops of ``crop`` pixels, with ``n`` images of ``size`` to train and to test."""
    return Task(
        name=f"stripes-{head}-{crop}",
        summary="which stripes are light",
        category=Category.SEMANTIC_PIXEL,
        head=head,
        loss="cross_entropy",
        metric="miou",
        data=lambda context, split: stripes(n[split == "test"], *size, seed=int(split == "test")),
        classes=("dark", "light"),
        protocol=Protocol(epochs=epochs, batch_size=2, lr=3e-3, schedule="cosine", crop=crop),
    )


def score(
    encoder: str, head: str, crop: int, epochs: int, size: tuple[int, int], n: tuple[int, int] = (16, 4)
) -> float:
    """Return the mIOU of ``head``, a head's name or that of a linear probe, on whole images."""
    is_probe = head.startswith("linear-dense")
    made = task("deeplabv3plus" if is_probe else head, crop, epochs, size, n)
    probe = {"probe": head} if is_probe else {}
    with tempfile.TemporaryDirectory() as place:
        context = DataContext(cache=Path(place) / "cache")
        table = virb.evaluate([encoder], [made], data=context, out=Path(place) / "results", device="cpu", **probe)
    (found,) = table["score"]
    return float(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, nargs="+", default=[512, 513])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 1024], help="height and width of the images")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--encoders", nargs="+", choices=tuple(ENCODERS), default=tuple(ENCODERS))
    parser.add_argument("--heads", nargs="+", choices=(*HEADS, "linear-dense"), default=HEADS)
    args = parser.parse_args()
    height, width = args.size
    print(f"mIOU on whole images of {height} x {width}, 16 to train on, {args.epochs} epochs", flush=True)
    for name in args.encoders:
        for head in args.heads:
            since = time.monotonic()
            found = [score(ENCODERS[name], head, crop, args.epochs, (height, width)) for crop in args.crops]
            each = "  ".join(f"{crop}: {one:.3f}" for crop, one in zip(args.crops, found, strict=True))
            print(
                f"{name:<9}{head:<20}{each}  difference {found[-1] - found[0]:+.3f}  ({time.monotonic() - since:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
