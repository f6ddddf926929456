"""The raw-pixel baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from virb.errors import UsageError
from virb.images.geometry import centred
from virb.networks.base import Backbone
from virb.networks.families import Family


class Pixels(Backbone):
    """The raw-pixel baseline: nothing is learned, the embedding is the image itself, averaged to ``grid`` x ``grid``.

    The pyramid is the image averaged over windows of each stride.
    """

    def __init__(self, grid: int = 8) -> None:
        super().__init__()
        self.grid = grid
        self.dim = 3 * grid * grid
        self.strides = (2, 4, 8, 16, 32)
        self.channels = (3,) * len(self.strides)

    def embed(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.grid).flatten(1)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.embed(x), self.pyramid(x)

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        if output_stride is None:
            return self.strides
        if output_stride < self.strides[0]:
            raise UsageError(
                f"The pixel baseline's finest map has stride 2; found an output stride of {output_stride}."
            )
        return tuple(min(stride, output_stride) for stride in self.strides)

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        return centred(self.strides_at(output_stride))

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        return [F.avg_pool2d(x, stride, ceil_mode=True) for stride in self.strides_at(output_stride)]


def build(options: Mapping[str, Any], is_initialised: bool) -> Pixels:
    """Return the baseline of all ``options``; it has no weights."""
    return Pixels(**options)


BACKBONE = Family("pixels", {"grid": 8}, build, limits={"grid": (1, 256)})


def member(name: str) -> Family:
    """Return the baseline's family."""
    return BACKBONE
