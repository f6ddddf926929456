"""Corruptions of a pretraining set, applied once and for all to each image, never as augmentation (Cole et al. 2022)."""

from __future__ import annotations

import io

import numpy as np

VERSION = 2  # changes when a corruption gives other pixels
SHORT_SIDE = 256
FACTORS = {"resize": 1, "downsample2": 2, "downsample4": 4}
KINDS = ("salt-and-pepper", "jpeg", *FACTORS)


def corrupt(
    image: np.ndarray, kind: str, generator: np.random.Generator, *, short_side: int = SHORT_SIDE
) -> np.ndarray:
    """Return ``image`` (H, W, 3), uint8, corrupted (Cole et al. 2022, Appendix C.5).

    - "salt-and-pepper": each channel of each pixel becomes 0 or 255, each with probability .005
    - "jpeg": compressed at quality 10 and read back
    - "resize": short side to ``short_side``, nearest neighbour
    - "downsample2", "downsample4": the same, then to a half or a quarter of the size, nearest neighbour, and back to the
      size before: what is lost is detail, not pixels

    The first two keep the image's own size; images that are not corrupted are used at their own size too.

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
    if kind not in FACTORS:
        raise ValueError(f"Unknown corruption {kind!r}; expected one of {', '.join(KINDS)}.")
    scale = short_side / min(opened.size)
    width, height = (max(1, round(side * scale)) for side in opened.size)
    opened = opened.resize((width, height), Image.Resampling.NEAREST)
    if FACTORS[kind] > 1:
        small = (max(1, width // FACTORS[kind]), max(1, height // FACTORS[kind]))
        opened = opened.resize(small, Image.Resampling.NEAREST).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(opened)
