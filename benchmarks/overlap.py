"""Is the encoder kept busy? JPEG files read and resized while a stand-in for a GPU "encodes": it waits, as the CPU would.

The stand-in takes one batch at a time, at a rate of so many images a second, and needs no core. What is measured is the
pipeline around it: reading ahead, decoding, resizing, batches, writing rows. A rate beyond what the cores can decode
cannot be served; below, the stand-in should wait for nothing.

Run: python benchmarks/overlap.py [--images 2000] [--size 224] [--rates 100,200,400,800]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import photos
import torch

from virb.contracts.examples import DataContext, Examples
from virb.convert.load import load_encoder
from virb.features import cache as features
from virb.features.cache import FeatureCache
from virb.networks.encoder import FrozenEncoder
from virb.system.allocator import keep_freed_memory
from virb.system.threads import n_cores


class StandIn:
    """In the place of the forward pass: waits as long as a device of ``rate`` images a second would compute."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.busy_s = 0.0
        self._device = threading.Lock()

    def __call__(self, encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]) -> dict[str, list[np.ndarray]]:
        with self._device:
            begun = time.perf_counter()
            time.sleep(len(images) / self.rate)
            self.busy_s += time.perf_counter() - begun
        return {layer: [np.zeros((len(images), encoder.dim), np.float32)] for layer in layers}


def encode(examples: Examples, encoder: FrozenEncoder, rate: float) -> tuple[float, float]:
    """Return the clock's seconds, and those in which the stand-in was busy."""
    stand_in = StandIn(rate)
    before, features.encode_batch = features.encode_batch, stand_in
    try:
        with tempfile.TemporaryDirectory() as place:
            begun = time.perf_counter()
            FeatureCache(Path(place), n_workers=n_cores()).encode([encoder], examples.images)
            return time.perf_counter() - begun, stand_in.busy_s
    finally:
        features.encode_batch = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pixels", type=int, default=320, help="short side of the JPEG files")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rates", default="100,200,400,800", help="images a second, separated by commas")
    args = parser.parse_args()
    keep_freed_memory()
    encoder = load_encoder(f"random:resnet18:size={args.size}")
    with tempfile.TemporaryDirectory() as place:
        photos.write(Path(place), train=args.images, test=10, side=args.pixels)
        examples = photos.task(1).examples(DataContext(places={"photos": Path(place)}), "train")
        encode(examples, encoder, 1e9)  # the files are in the kernel's cache now
        wall, _ = encode(examples, encoder, 1e9)
        print(f"{args.images} JPEG files of {args.pixels} px to {args.size} px, {n_cores()} cores")
        print(f"without encoding: {args.images / wall:,.0f} images/s are decoded and resized")
        for rate in map(float, args.rates.split(",")):
            wall, busy = encode(examples, encoder, rate)
            print(f"a device of {rate:5,.0f} images/s is busy {busy / wall:4.0%} of {wall:.1f} s")


if __name__ == "__main__":
    main()
