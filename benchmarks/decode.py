"""Decoding JPEG files by the one decoder against Pillow alone: in turn in one process, processors' seconds.

The files are scikit-learn's two photographs. With --threads the rate of several threads by the clock, which on a busy
machine says little.

Run: python benchmarks/decode.py [--repeats 40] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import sklearn.datasets
import torch
from PIL import Image

from virb.images import decode, jpeg


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
    begun = time.process_time()
    agrees = jpeg.agrees()
    print(f"the check that both decoders agree: {agrees}, {1e3 * (time.process_time() - begun):.0f} ms (with imports)")
    ways = {"Pillow": by_pillow, "virb": decode.read_image}
    for path in paths:
        assert np.array_equal(by_pillow(path), decode.read_image(path))
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.repeats):
            for way, read in ways.items():
                begun = time.process_time()
                read(path)
                spent[way].append(time.process_time() - begun)
        ms = {way: 1e3 * statistics.median(times) for way, times in spent.items()}
        print(
            f"{path.name}: Pillow {ms['Pillow']:.2f} ms, virb {ms['virb']:.2f} ms, ratio {ms['Pillow'] / ms['virb']:.2f}"
        )
    for way, read in ways.items() if args.threads else ():
        begun = time.perf_counter()
        with ThreadPoolExecutor(args.threads) as pool:
            n = len(list(pool.map(read, paths * args.repeats)))
        print(f"{way}, {args.threads} threads: {n / (time.perf_counter() - begun):.0f} images/s by the clock")


if __name__ == "__main__":
    main()
