"""Each image of a set in the middle of a square, so that resizing squashes nothing."""

from __future__ import annotations

import hashlib

import numpy as np

from virb.contracts.images import UNREADABLE, Digested, ImageSet, stacked


class PaddedSquares(Digested):
    """Each of ``whole``'s images in the middle of a black square, whose side is the image's longer one."""

    def __init__(self, whole: ImageSet) -> None:
        self.whole = whole
        self.name = whole.name

    def __len__(self) -> int:
        return len(self.whole)

    def image(self, index: int) -> np.ndarray:
        image = self.whole.image(index)
        left, top = margins(*image.shape[:2])
        square = np.zeros((max(image.shape[:2]), max(image.shape[:2]), 3), np.uint8)
        square[top : top + image.shape[0], left : left + image.shape[1]] = image
        return square

    def size(self, index: int) -> tuple[int, int]:
        side = max(self.whole.size(index))
        return side, side

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        return stacked(
            [
                hashlib.sha256(row.tobytes() + b"padded square").digest() if row.any() else UNREADABLE
                for row in self.whole.digest_rows(rows)
            ]
        )

    def describe(self, index: int) -> str:
        return self.whole.describe(index)


def margins(height: int, width: int) -> tuple[int, int]:
    """Return how many pixels lie left of an image and above it in its padded square.

    >>> margins(333, 500)
    (0, 83)
    """
    side = max(height, width)
    return (side - width) // 2, (side - height) // 2
