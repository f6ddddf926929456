"""What timm's networks in stages share: a map a stage, each half as fine as the one before, and one vector pooled."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from virb.images.geometry import centred
from virb.networks.external import External


class Stages(External):
    """A network of timm's in stages without its classifier; its stages' outputs are the pyramid."""

    def __init__(
        self, net: nn.Module, image_size: int, dim: int, channels: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        super().__init__(net, image_size)
        self.dim, self.channels, self.strides = dim, channels, strides

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        return centred(self.strides_at(output_stride))

    def look(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        net: Any = self.net
        last, maps = net.forward_intermediates(x, output_fmt="NCHW")
        return net.forward_head(last), [item.contiguous() for item in maps]

    def embed(self, x: Tensor) -> Tensor:
        return self.guarded(self.net, x)
