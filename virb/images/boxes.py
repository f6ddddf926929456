"""A part of each image of a set: what lies in a box of its own."""

from __future__ import annotations

import hashlib

import numpy as np

from virb.contracts.images import UNREADABLE, Digested, ImageSet, stacked
from virb.errors import DataError


class Boxes(Digested):
    """What lies in a box of each of ``whole``'s images.

    Args:
        boxes: float (N, 4): left, top, right and bottom in pixels from 0, rounded to whole ones; right and bottom do not
            belong to it. What of a box lies beyond its image is left out.
    """

    def __init__(self, whole: ImageSet, boxes: np.ndarray) -> None:
        self.whole = whole
        self.boxes = np.round(np.asarray(boxes, dtype=np.float64)).astype(np.int64)
        self.name = whole.name

    def __len__(self) -> int:
        return len(self.whole)

    def image(self, index: int) -> np.ndarray:
        image = self.whole.image(index)
        left, top, right, bottom = self._inside(index, image.shape[0], image.shape[1])
        return image[top:bottom, left:right]

    def size(self, index: int) -> tuple[int, int]:
        left, top, right, bottom = self._inside(index, *self.whole.size(index))
        return bottom - top, right - left

    def _inside(self, index: int, height: int, width: int) -> tuple[int, int, int, int]:
        left, top, right, bottom = (int(value) for value in self.boxes[index])
        left, right = max(0, left), min(width, right)
        top, bottom = max(0, top), min(height, bottom)
        if left >= right or top >= bottom:
            raise DataError(
                f"{self.name}: the box {self.boxes[index].tolist()} of {self.describe(index)} holds nothing of its "
                f"{width}x{height} pixels; expected left, top, right, bottom."
            )
        return left, top, right, bottom

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        found = self.whole.digest_rows(rows)
        return stacked(
            [
                hashlib.sha256(row.tobytes() + f"box {self.boxes[k].tolist()}".encode()).digest()
                if row.any()
                else UNREADABLE
                for k, row in zip(rows.tolist(), found, strict=True)
            ]
        )

    def describe(self, index: int) -> str:
        return self.whole.describe(index)
