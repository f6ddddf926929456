"""Squares of the images of a set: their centre, for protocols that crop instead of squashing, or all of them with a margin."""

from __future__ import annotations

import hashlib

import numpy as np

from virb.images import digests
from virb.images.sets import ArrayImages, ImageSet


def centre_squares(images: ImageSet, share: float) -> ImageSet:
    """Return the set of the centre squares whose side is ``share`` of the shorter side; square images stay what they are.

    Resized to an encoder's size, a square of share 1 is what resizing the shorter side and cropping the centre gives, but
    for a shift of less than a pixel, where a side or a half of it is rounded to whole ones.
    """
    if share == 1 and isinstance(images, ArrayImages) and images.array.shape[1] == images.array.shape[2]:
        return images
    return CentreSquares(images, share)


class CentreSquares(digests.Digested):
    """The centre square of each of ``whole``'s images; its side is ``share`` (above 0, at most 1) of the shorter side."""

    def __init__(self, whole: ImageSet, share: float) -> None:
        self.whole = whole
        self.share = share
        self.name = whole.name

    def __len__(self) -> int:
        return len(self.whole)

    def image(self, index: int) -> np.ndarray:
        image = self.whole.image(index)
        height, width = image.shape[:2]
        side = self._side(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]

    def size(self, index: int) -> tuple[int, int]:
        side = self._side(*self.whole.size(index))
        return side, side

    def _side(self, height: int, width: int) -> int:
        return max(1, round(self.share * min(height, width)))

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        return _renamed(self.whole.digest_rows(rows), f"centre square {self.share!r}".encode())

    def describe(self, index: int) -> str:
        return self.whole.describe(index)


class PaddedSquares(digests.Digested):
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
        return _renamed(self.whole.digest_rows(rows), b"padded square")

    def describe(self, index: int) -> str:
        return self.whole.describe(index)


def margins(height: int, width: int) -> tuple[int, int]:
    """Return how many pixels lie left of an image and above it in its padded square.

    >>> margins(333, 500)
    (0, 83)
    """
    side = max(height, width)
    return (side - width) // 2, (side - height) // 2


def _renamed(found: np.ndarray, said: bytes) -> np.ndarray:
    """Return the digests of what was made of images with the digests ``found`` in the way that is ``said``."""
    return digests.stacked(
        [hashlib.sha256(row.tobytes() + said).digest() if row.any() else digests.UNREADABLE for row in found]
    )
