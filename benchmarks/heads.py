"""An image-level task of 100 epochs against one plain pass of the backbone over its images, and the usual way beside it.

Three sides on the same JPEG files, each in a process of its own, in turn:
- one pass: a DataLoader with a worker a core that decodes and resizes, batches of 64, ``torch.inference_mode()``;
- evaluate: ``virb.evaluate``, that is decode, encode, cache, train the head for 100 epochs, predict, write the record;
- every epoch: the usual way, the frozen backbone run in each epoch while the head trains; --usual-epochs are timed, the
  rest is extrapolated, for all epochs cost the same.

Run: python benchmarks/heads.py [--arch resnet50] [--size 224] [--train 64] [--test 16]
     python benchmarks/heads.py --arch resnet18:width=0.25 --size 64 --train 2000 --test 400 --pixels 64    (as small as encoders/*.pt)
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import photos
import sides
import torch
from PIL import Image

import virb
from virb.contracts.examples import DataContext
from virb.convert.load import load_encoder
from virb.images.folders import scan_image_folder
from virb.networks.preprocess import Preprocess
from virb.system.allocator import keep_freed_memory
from virb.system.threads import n_cores


class Files(torch.utils.data.Dataset):
    """What one writes for a DataLoader: open, resize, to a tensor, normalise."""

    def __init__(self, root: Path, preprocess: Preprocess) -> None:
        self.folder = scan_image_folder(root)
        self.size = preprocess.size
        self.mean = torch.tensor(preprocess.mean).view(3, 1, 1)
        self.std = torch.tensor(preprocess.std).view(3, 1, 1)

    def __len__(self) -> int:
        return len(self.folder.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.folder.root / self.folder.paths[index]) as opened:
            resized = opened.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        image = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float().div_(255)
        return (image - self.mean) / self.std, int(self.folder.labels[index])


def loader(root: Path, preprocess: Preprocess, *, shuffle: bool = False) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(Files(root, preprocess), batch_size=64, shuffle=shuffle, num_workers=n_cores())


def side(args: argparse.Namespace) -> sides.Work:
    source = (
        args.arch
        if args.arch.startswith("pixels")
        else f"random:{args.arch}{',' if ':' in args.arch else ':'}size={args.size}"
    )
    data = Path(args.data)
    encoder = load_encoder(source)
    if args.side == "evaluate":
        keep_freed_memory()

        def evaluate() -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as place:
                context = DataContext(places={"photos": data}, cache=Path(place) / "cache")
                virb.evaluate(
                    [source], [photos.task(args.epochs)], data=context, out=Path(place) / "results", device="cpu"
                )
            return {}

        return evaluate
    network = encoder.trainable_copy().eval().requires_grad_(False)
    if args.side == "one pass":

        def one_pass() -> None:
            with torch.inference_mode():
                for split in ("train", "test"):
                    for images, _ in loader(data / split, encoder.preprocess):
                        network(images)

        return one_pass

    def epochs() -> None:
        head = torch.nn.Linear(encoder.dim, len(photos.CLASSES))
        optimizer = torch.optim.Adam(head.parameters(), lr=3e-4)
        for _ in range(args.usual_epochs):
            for images, labels in loader(data / "train", encoder.preprocess, shuffle=True):
                with torch.no_grad():
                    embedding = network(images)
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(head(embedding), labels).backward()
                optimizer.step()

    return epochs


def main() -> None:
    parser = sides.parser(__doc__, arch="resnet50", size=224, repeats=1, warm_up=0)
    photos.add_arguments(parser, train=64, test=16)
    parser.add_argument("--usual-epochs", type=int, default=1)
    args = parser.parse_args()
    if args.side:
        sides.serve(side(args))
        return
    names = ("one pass", "evaluate", "every epoch")
    with tempfile.TemporaryDirectory() as place:
        photos.write(Path(place), train=args.train, test=args.test, side=args.pixels)
        spent = sides.compare(names, more=["--data", place], repeats=args.repeats, warm_up=args.warm_up)
    print(
        f"{args.arch}, {args.size} px, {args.train} + {args.test} JPEG files of {args.pixels} px, {args.epochs} epochs, {n_cores()} cores"
    )
    sides.show(spent)
    print(f"evaluate / one pass: {sides.ratio(spent, 'evaluate', 'one pass')}")
    usual = spent["every epoch"]
    times = args.epochs / args.usual_epochs
    print(
        f"the usual way, {args.usual_epochs} epoch timed, x {times:.0f}: {times * usual.s:,.0f} s; / evaluate: "
        f"{times * usual.s / spent['evaluate'].s:,.0f} by the clock, "
        f"{times * usual.cpu_s / spent['evaluate'].cpu_s:,.0f} in processors' time"
    )


if __name__ == "__main__":
    main()
