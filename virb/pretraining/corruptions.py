"""Corruptions of a pretraining set, applied once and for all to each image, never as augmentation (Cole et al. 2022)."""

from __future__ import annotations

import io

import numpy as np

KINDS = ("salt-and-pepper", "jpeg", "resize", "downsample2", "downsample4")


def corrupt(image: np.ndarray, kind: str, generator: np.random.Generator, *, short_side: int = 256) -> np.ndarray:
    """Return ``image`` (H, W, 3), uint8, corrupted.

    - "salt-and-pepper": each channel of each pixel becomes 0 or 255, each with probability .005
    - "jpeg": compressed at quality 10 and read back
    - "resize": short side to ``short_side``, nearest neighbour
    - "downsample2", "downsample4": the same, then a half or a quarter of the size, nearest neighbour

    Raises:
        ValueError: the kind is unknown.
    """
    from PIL import Image

    if kind == "salt-and-pepper":
        draw = generator.random(image.shape)
        return np.where(draw < 0.005, 0, np.where(draw >= 0.995, 255, image)).astype(np.uint8)
    opened = Image.fromarray(image)
    if kind == "jpeg":
        file = io.BytesIO()
        opened.save(file, "JPEG", quality=10)
        return np.asarray(Image.open(file))
    factors = {"resize": 1, "downsample2": 2, "downsample4": 4}
    if kind not in factors:
        raise ValueError(f"Unknown corruption {kind!r}; expected one of {', '.join(KINDS)}.")
    scale = short_side / min(opened.size)
    opened = opened.resize([max(1, round(side * scale)) for side in opened.size], Image.Resampling.NEAREST)
    if factors[kind] > 1:
        size = [max(1, side // factors[kind]) for side in opened.size]
        opened = opened.resize(size, Image.Resampling.NEAREST)
    return np.asarray(opened)
