"""Eight encoders on one task against eight separate runs, on JPEG files; and against the sum of their forward passes.

Sides, each in a process of its own, in turn: "together" is one ``virb.evaluate`` of all encoders, "separate" one after
the other, each with a cache of its own, "forward" the networks alone on images that are decoded and resized already.

Run: python benchmarks/encoders.py [--encoders 8] [--arch resnet18:width=0.25] [--size 64] [--train 100] [--test 20]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import photos
import sides

import virb
from virb.contracts.examples import DataContext
from virb.convert.load import load_encoder
from virb.features.cache import FeatureCache
from virb.images.sets import ArrayImages
from virb.system.allocator import keep_freed_memory
from virb.system.threads import n_cores


def side(args: argparse.Namespace) -> sides.Work:
    keep_freed_memory()
    sign = "," if ":" in args.arch else ":"
    sources = [f"random:{args.arch}{sign}size={args.size},seed={seed}" for seed in range(args.encoders)]
    if args.side == "forward":
        encoders = [load_encoder(source) for source in sources]
        n = args.train + args.test
        pixels = np.random.default_rng(0).integers(0, 256, (n, args.size, args.size, 3), dtype=np.uint8)
        images = ArrayImages.of("noise", pixels)

        def forward() -> None:
            with tempfile.TemporaryDirectory() as cache:
                FeatureCache(Path(cache), limit_gb=10).encode(encoders, images)

        return forward
    groups = [sources] if args.side == "together" else [[source] for source in sources]

    def evaluate() -> None:
        for group in groups:
            with tempfile.TemporaryDirectory() as place:
                context = DataContext(places={"photos": Path(args.data)}, cache=Path(place) / "cache")
                task = photos.task(args.epochs)
                virb.evaluate(group, [task], data=context, out=Path(place) / "results", device="cpu")

    return evaluate


def main() -> None:
    parser = sides.parser(__doc__, arch="resnet18:width=0.25", size=64, repeats=1, warm_up=0)
    photos.add_arguments(parser, train=100, test=20)
    parser.add_argument("--encoders", type=int, default=8)
    args = parser.parse_args()
    if args.side:
        sides.serve(side(args))
        return
    with tempfile.TemporaryDirectory() as place:
        photos.write(Path(place), train=args.train, test=args.test, side=args.pixels)
        spent = sides.compare(
            ("separate", "together", "forward"), more=["--data", place], repeats=args.repeats, warm_up=args.warm_up
        )
    print(
        f"{args.encoders} x {args.arch}, {args.size} px, {args.train} + {args.test} JPEG files of {args.pixels} px, "
        f"{args.epochs} epochs, {n_cores()} cores"
    )
    sides.show(spent)
    print(f"together / separate: {sides.ratio(spent, 'together', 'separate')}")
    print(f"together / forward passes alone: {sides.ratio(spent, 'together', 'forward')}")


if __name__ == "__main__":
    main()
