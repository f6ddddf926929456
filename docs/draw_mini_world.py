"""Draw docs/mini-world.png, some frames of every image set of the rendered world: python docs/draw_mini_world.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from virb.tasks import world

N_COLUMNS, SCALE, MARGIN = 12, 1.5, 16


def main() -> None:
    strips = []
    for name, spec in world.SETS.items():
        if name.startswith("pretrain"):
            continue
        n_examples = N_COLUMNS // spec.n_frames
        frames = world.load(name, "test", limit=n_examples).images
        side = int(frames.shape[1] * SCALE)
        strip = np.concatenate(list(frames[: n_examples * spec.n_frames]), axis=1)
        strips.append((name, Image.fromarray(strip).resize((N_COLUMNS * side, side), Image.Resampling.LANCZOS)))
    width, height = strips[0][1].size
    sheet = Image.new("RGB", (width, (height + MARGIN) * len(strips)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, strip) in enumerate(strips):
        top = row * (height + MARGIN)
        draw.text((2, top + 2), f"{name}: {world.SETS[name].summary}", fill="black")
        sheet.paste(strip, (0, top + MARGIN))
    sheet.quantize(256).save(Path(__file__).with_name("mini-world.png"), optimize=True)


if __name__ == "__main__":
    main()
