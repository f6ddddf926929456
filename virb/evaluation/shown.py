"""What is kept of a pixelwise job to look at: a handful of test images with target and prediction, made small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from virb.contracts.examples import Examples
from virb.evaluation.parts import Parts

MOST = 16  # test examples, evenly over the split
SIDE = 128  # pixels of the longer side, at most
SPARSE = 0.02  # the share of pixels with a target below which they are points, kept as spots
SPOT = 2  # pixels around the middle of a spot


class Shown:
    """Collects the arrays of the file beside a record (docs/records.md): ``ids`` and ``rows``, and for the k-th example
    ``image_k`` (uint8, its frames side by side), ``target_k`` and ``prediction_k`` (classes, or float16 with NaN for void).
    """

    def __init__(self, parts: Parts, test: Examples) -> None:
        self.parts = parts
        self.test = test
        self.rows = np.unique(np.linspace(0, len(test) - 1, min(MOST, len(test))).round().astype(int))
        self.arrays: dict[str, np.ndarray] = {
            "rows": self.rows,
            "ids": np.asarray([str(test.ids[int(row)]) for row in self.rows]),
        }

    def add(self, rows: np.ndarray, outputs: Sequence[Any], targets: Sequence[np.ndarray]) -> None:
        """Take what is wanted of a block: outputs (C, H, W) at their targets' resolutions."""
        for k in np.flatnonzero(np.isin(self.rows, rows)):
            place = int(np.flatnonzero(rows == self.rows[k])[0])
            output = torch.as_tensor(outputs[place]).float().cpu().numpy()
            is_mask = self.parts.target == "mask"
            if is_mask:
                prediction = output.argmax(0)
            else:
                prediction = output[0] if len(output) == 1 else np.moveaxis(output, 0, -1)
            target = np.asarray(targets[place])
            self.arrays[f"prediction_{k}"] = kept(self.parts, prediction, target)
            self.arrays[f"target_{k}"] = kept(self.parts, target, target)
            frames = [self.test.images.image(int(frame)) for frame in self.test.frames[self.rows[k]]]
            self.arrays[f"image_{k}"] = beside([small_image(np.asarray(frame)) for frame in frames])


def kept(parts: Parts, values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return a target, or what was predicted for it, as it is kept: small, of a flow the motion alone, single points as spots."""
    if parts.target == "mask":
        return small(typed(values, is_mask=True))
    if parts.task.quantity == "flow":
        values, target = values[..., :2], target[..., :2]
    is_there = np.isfinite(target) if target.ndim == 2 else np.isfinite(target).all(-1)
    if is_there.mean() > SPARSE:
        return small(typed(values, is_mask=False))
    height, width = small_size(*is_there.shape)
    spots = np.full((height, width, *values.shape[2:]), np.nan, np.float16)
    for y, x in zip(*np.nonzero(is_there), strict=True):
        top, left = (int(at * new / old) for at, new, old in zip((y, x), (height, width), is_there.shape, strict=True))
        spots[max(0, top - SPOT) : top + SPOT + 1, max(0, left - SPOT) : left + SPOT + 1] = values[y, x]
    return spots


def typed(values: np.ndarray, is_mask: bool) -> np.ndarray:
    if is_mask:
        return values.astype(np.uint8 if values.min() >= 0 and values.max() < 256 else np.int32)
    return values.astype(np.float32).clip(-65504, 65504).astype(np.float16)


def beside(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return images (h, w, 3) side by side; below those that are not as high as others it is black."""
    height = max(image.shape[0] for image in images)
    return np.concatenate([np.pad(image, ((0, height - len(image)), (0, 0), (0, 0))) for image in images], axis=1)


def small_size(height: int, width: int) -> tuple[int, int]:
    """Return the size that a picture is kept at."""
    factor = min(1.0, SIDE / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def small(values: np.ndarray) -> np.ndarray:
    """Return the pixels nearest to those of the small picture: classes and void are never mixed."""
    height, width = values.shape[:2]
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int)
        for n, side in zip(small_size(height, width), (height, width), strict=True)
    )
    return values[rows][:, columns]


def small_image(image: np.ndarray) -> np.ndarray:
    size = small_size(*image.shape[:2])
    if size == image.shape[:2]:
        return image
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    smaller = F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
    return smaller[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
