"""The centre square of each image of a set, for protocols that crop instead of squashing."""

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
        said = f"centre square {self.share!r}".encode()
        return digests.stacked(
            [
                hashlib.sha256(row.tobytes() + said).digest() if row.any() else digests.UNREADABLE
                for row in self.whole.digest_rows(rows)
            ]
        )

    def describe(self, index: int) -> str:
        return self.whole.describe(index)
