"""Pictures to decode: light to import, as many processes write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_some(root: str, first: int, step: int, n: int, side: int = 320) -> list[str]:
    """Write every ``step``-th of ``n`` JPEG files of ``side`` pixels from ``first`` on; return their paths."""
    written = []
    for k in range(first, n, step):
        rng = np.random.default_rng(k)
        coarse = Image.fromarray(rng.integers(0, 256, (side // 16, side // 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side * 4 // 3, side), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
        written.append(f"{root}/{k:06d}.jpg")
        Image.fromarray(noisy).save(Path(written[-1]), quality=90)
    return written


def read_some(paths: list[str]) -> int:
    """Decode and resize the files one after the other, as virb does; return how many."""
    import torch

    torch.set_num_threads(1)
    for path in paths:
        with Image.open(path) as opened:
            tensor = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)[None]
        torch.nn.functional.interpolate(tensor, (224, 224), mode="bilinear", antialias=True)
    return len(paths)
