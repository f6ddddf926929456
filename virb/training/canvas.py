"""Images of several sizes in one batch: each in the top left corner of a canvas that holds the largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Canvas:
    """A batch of N images: uint8 ``pixels`` (N, H, W, 3), of which image i fills the first ``sizes[i]`` rows and columns.

    It goes wherever a view takes images: :class:`virb.training.augment.View` begins with a crop or a resize, which
    reads the sizes. A batch of one size is a plain tensor.
    """

    pixels: Tensor
    sizes: Tensor  # (N, 2) heights and widths, whole numbers, on the host, where boxes are drawn

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: slice | Tensor) -> Canvas:
        return Canvas(self.pixels[index], self.sizes[index])

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    def squares(self) -> Tensor:
        """Return the largest central square of each image as a box (N, 4): top, left, height, width."""
        return central_squares(self.sizes)


def central_squares(sizes: Tensor) -> Tensor:
    """Return the largest central squares of images of ``sizes`` (N, 2) as boxes (N, 4): top, left, height, width."""
    side = sizes.amin(dim=1)
    top, left = ((sizes[:, k] - side) // 2 for k in (0, 1))
    return torch.stack([top, left, side, side], dim=1)
