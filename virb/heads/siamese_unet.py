"""The Siamese U-Net (Kotar et al. 2021, Section 4.2): two images, fused level by level by a point convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.parts import Option
from virb.heads.layers import check_pyramid
from virb.heads.unet import UNetDecoder


class SiameseUNetDecoder(nn.Module):
    """The U-Net over two pyramids: at each level both images' maps pass a 1x1 convolution (2C -> C) and are added."""

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[float],
        offsets: Sequence[float],
        n_out: int,
        *,
        max_width: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.fuse = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in channels)
        self.decoder = UNetDecoder(channels, strides, offsets, n_out, max_width=max_width)

    def forward(self, pyramid_a: Sequence[Tensor], pyramid_b: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return (N, n_out, h, w) for the maps of the first and the second image, fine to coarse."""
        check_pyramid(pyramid_a, self.channels, "The Siamese U-Net (first image)")
        check_pyramid(pyramid_b, self.channels, "The Siamese U-Net (second image)")
        fused = [fuse(torch.cat((a, b), dim=1)) for fuse, a, b in zip(self.fuse, pyramid_a, pyramid_b, strict=True)]
        return self.decoder(fused, size)


def build(facts: Facts, n_out: int, **options: Any) -> SiameseUNetDecoder:
    """Return the decoder for the encoder's maps."""
    return SiameseUNetDecoder(facts.channels, facts.strides, facts.offsets, n_out, **options)


HEAD = Head(
    name="siamese_unet",
    summary="the U-Net over two images' maps, fused level by level",
    reads="pyramid",
    build=build,
    options=(Option("max_width", None, "cap of the levels' widths", type=int, low=1),),
    min_frames=2,
    max_frames=2,
)
