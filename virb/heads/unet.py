"""The U-Net decoder (Kotar et al. 2021, Section 4.2): convolution, pixel shuffle, encoder map added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.parts import Option
from virb.heads.layers import UpBlock, check_facts, check_pyramid, grid, n_doublings, output_layer
from virb.images.geometry import PIXELS, grids


class UNetDecoder(nn.Module):
    """From a pyramid, fine to coarse, to an output of the image's size, with a residual addition at every level.

    The width of each level is its encoder map's, so that the map is added as it is: 2048, 1024, 512, 256, 64 for a
    ResNet-50, as in the paper. ``max_width`` caps it; a capped level's map passes a 1x1 convolution before it is added.
    Below the finest map the remaining doublings run at half that level's width, at least 8.
    """

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
        check_facts(channels, strides, offsets)
        self.channels = list(channels)
        widths = [min(c, max_width) if max_width else c for c in channels]
        self.laterals = nn.ModuleList(
            nn.Identity() if width == c else nn.Conv2d(c, width, 1) for width, c in zip(widths, channels, strict=True)
        )
        places = grids(strides, offsets)
        # ups[k] leads from level k + 1 to level k.
        self.ups = nn.ModuleList(
            UpBlock(widths[k + 1], widths[k], n_doublings(strides[k + 1], strides[k]), places[k + 1], places[k])
            for k in range(len(widths) - 1)
        )
        last = max(8, widths[0] // 2)
        self.to_full = UpBlock(widths[0], last, n_doublings(strides[0], 1), places[0], PIXELS)
        self.out = output_layer(last, n_out, 3)

    def forward(self, pyramid: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return (N, n_out, h, w) for maps fine to coarse and ``size`` = (h, w)."""
        check_pyramid(pyramid, self.channels, "The U-Net")
        x = self.laterals[-1](pyramid[-1])
        for k in range(len(self.ups) - 1, -1, -1):
            skip = self.laterals[k](pyramid[k])
            x = self.ups[k](x, grid(skip)) + skip
        return self.out(self.to_full(x, size))


def build(facts: Facts, n_out: int, **options: Any) -> UNetDecoder:
    """Return the decoder for the encoder's maps."""
    return UNetDecoder(facts.channels, facts.strides, facts.offsets, n_out, **options)


HEAD = Head(
    name="unet",
    summary="a U-Net decoder: convolution, pixel shuffle, encoder map added",
    reads="pyramid",
    build=build,
    options=(Option("max_width", None, "cap of the levels' widths", type=int, low=1),),
)
