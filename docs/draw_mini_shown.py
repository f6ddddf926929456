"""Draw docs/mini-shown/TASK.png, a contact sheet of every task of the mini suite, by ``virb show``.

virb evaluate encoders/supervised-objects.pt --suite mini --out results
python docs/draw_mini_shown.py --results results --encoder encoders/supervised-objects.pt
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from virb import load_encoder, registry
from virb.contracts.examples import DataContext
from virb.errors import DataAbsent
from virb.evaluation.show import show

FOLDER = Path(__file__).with_name("mini-shown")
SUITE = [entry.name for entry in registry.entries("tasks") if entry.group == "mini"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default="results")
    parser.add_argument("--encoder", default="encoders/supervised-objects.pt")
    parser.add_argument("--tasks", default=",".join(SUITE))
    parser.add_argument("--out", default=str(FOLDER))
    parser.add_argument("--images", type=int, default=4)
    args = parser.parse_args()
    encoder, out = load_encoder(args.encoder), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name in args.tasks.split(","):
        path = out / f"{name}.png"
        try:
            show(
                registry.load("tasks", name), DataContext(), path, encoder=encoder, results=args.results, n=args.images
            )
        except DataAbsent as error:
            print(f"{name}: left out: {error}")
            continue
        Image.open(path).convert("RGB").quantize(64).save(path, "PNG", optimize=True)
        print(path)


if __name__ == "__main__":
    main()
