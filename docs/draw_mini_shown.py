"""Draw docs/mini-shown.png: images, targets and predictions of pixelwise mini tasks, by ``virb show``.

virb evaluate encoders/supervised-objects.pt --tasks mini-segmentation,mini-depth,... --out results
python docs/draw_mini_shown.py --results results --encoder encoders/supervised-objects.pt
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from virb import load_encoder, registry
from virb.contracts.examples import DataContext
from virb.evaluation.show import show

TASKS = ("mini-segmentation", "mini-depth", "mini-normals", "mini-walkable", "mini-correspondence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results")
    parser.add_argument("--encoder", default="encoders/supervised-objects.pt")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--out", default=str(Path(__file__).with_name("mini-shown.png")))
    args = parser.parse_args()
    encoder = load_encoder(args.encoder)
    pictures = []
    with tempfile.TemporaryDirectory() as place:
        for name in args.tasks.split(","):
            path = Path(place) / f"{name}.png"
            show(registry.load("tasks", name), DataContext(), path, encoder=encoder, results=args.results, n=4)
            pictures.append(Image.open(path).convert("RGB"))
    sheet = Image.new("RGB", (max(one.width for one in pictures), sum(one.height for one in pictures)), "white")
    top = 0
    for one in pictures:
        sheet.paste(one, (0, top))
        top += one.height
    sheet.quantize(128).save(args.out, "PNG", optimize=True)


if __name__ == "__main__":
    main()
