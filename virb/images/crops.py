"""Random crops of images together with their dense target, for the tasks that the paper trains on crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PADDING = (124, 116, 104)  # ImageNet's mean colour: close to zero once an encoder has normalised it


def random_crop(
    images: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    size: int,
    scales: tuple[float, float],
    may_mirror: bool,
    rng: np.random.Generator,
    ignore_index: int = 255,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return one random crop of (size, size) pixels from all frames of an example and from its target.

    The frames are scaled by one factor, log-uniform within ``scales``, cropped at one place and, with ``may_mirror``,
    mirrored left to right with probability one half. Where the scaled image is smaller than the crop, it is padded
    below and to the right; padding has no target. Targets are sampled at the nearest pixel, so that no class and no
    depth arises that was not there. Flow is in pixels: it is scaled with the image, and its u changes sign in a mirror.

    Args:
        images: frames of one size, uint8 (H, W, 3).
        target: (H, W) classes (integers), (H, W) depth or (H, W, 2) flow (floats; NaN has no target).
        size: of the crop.
        scales: the least and the largest factor.
        may_mirror: whether a mirrored example is one of the same task.
        rng: draws the factor, the place and the mirror.
        ignore_index: the value of padding in a class mask.
    """
    height, width = images[0].shape[:2]
    scale = float(np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1]))))
    # The window of the source that the crop shows: cutting before scaling gives the same and is much cheaper.
    window_h, window_w = (min(side, max(1, round(size / scale))) for side in (height, width))
    out_h, out_w = (min(size, max(1, round(side * scale))) for side in (window_h, window_w))
    top = int(rng.integers(0, height - window_h + 1))
    left = int(rng.integers(0, width - window_w + 1))
    is_mirrored = may_mirror and bool(rng.integers(0, 2))
    window = (slice(top, top + window_h), slice(left, left + window_w))

    crops = []
    for image in images:
        crop = np.full((size, size, 3), PADDING, dtype=np.uint8)
        scaled = resized(image[window], out_h, out_w)
        crop[:out_h, :out_w] = scaled[:, ::-1] if is_mirrored else scaled
        crops.append(crop)

    rows = (np.arange(out_h) * 2 + 1) * window_h // (2 * out_h)  # the pixel under each new pixel's centre
    columns = (np.arange(out_w) * 2 + 1) * window_w // (2 * out_w)
    scaled = target[window][rows][:, columns]
    is_class = np.issubdtype(target.dtype, np.integer)
    if target.ndim == 3:
        scaled = scaled * np.array([out_w / window_w, out_h / window_h], dtype=target.dtype)
    if is_mirrored:
        scaled = scaled[:, ::-1]
        if target.ndim == 3:
            scaled = scaled * np.array([-1, 1], dtype=target.dtype)
    padded = np.full((size, size, *target.shape[2:]), ignore_index if is_class else np.nan, dtype=target.dtype)
    padded[:out_h, :out_w] = scaled
    return crops, padded


def scale_to(short_side: int | None, shape: tuple[int, ...]) -> float:
    """Return the factor that gives an image of ``shape`` (H, W, ...) the shorter side ``short_side`` (None: leaves it).

    >>> scale_to(512, (256, 700, 3))
    2.0
    """
    return 1.0 if short_side is None else short_side / min(shape[:2])


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), at another size, bilinearly (with antialiasing where it shrinks)."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
