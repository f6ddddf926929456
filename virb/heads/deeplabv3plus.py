"""The DeepLabv3+ decoder (Chen et al. 2018; Kotar et al. 2021, Section 4.2) for any encoder's pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP, SeparableConv2d
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.parts import Option
from virb.heads.layers import check_facts, check_pyramid, grid, output_layer, with_own_layers
from virb.images.geometry import PIXELS, grids, resample


class DeepLabV3PlusDecoder(nn.Module):
    """The coarsest map through atrous spatial pyramid pooling, joined with the second block's map, to n_out channels.

    The layers are segmentation-models-pytorch's. Its own decoder fixes the strides of the maps and reads the third of
    six; here the upsampling follows the places of the maps' cells, and the fine map is the second (of four or more levels; else the
    first). Dilation rates keep the extent in the image that the DeepLabv3+ paper gives them: 6, 12, 18 at stride 16,
    12, 24, 36 at stride 8 and 3, 6, 9 at stride 32.

    Widths: 256 and 48 for the fine map, as published, for a ResNet-18 and larger; an encoder whose coarsest map has
    fewer than 512 channels gets half of that count, and 3/16 of it for the fine map. ``dropout`` acts on the joined
    branches of the pyramid.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[float],
        offsets: Sequence[float],
        n_out: int,
        *,
        width: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_facts(channels, strides, offsets)
        self.channels = list(channels)
        self.fine_level = 1 if len(channels) >= 4 else 0
        places = grids(strides, offsets)
        self.coarse_grid, self.fine_grid = places[-1], places[self.fine_level]
        width = width or min(256, max(16, channels[-1] // 2))
        fine_width = max(4, round(width * 48 / 256))
        self.rates = tuple(max(1, round(96 * k / strides[-1])) for k in (1, 2, 3))
        self.aspp = nn.Sequential(
            ASPP(channels[-1], width, self.rates, separable=True, dropout=dropout),
            SeparableConv2d(width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(channels[self.fine_level], fine_width, 1, bias=False), nn.BatchNorm2d(fine_width), nn.ReLU()
        )
        self.join = nn.Sequential(
            SeparableConv2d(fine_width + width, width, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.out = output_layer(width, n_out, 1)
        with_own_layers(self)

    def forward(self, pyramid: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return (N, n_out, h, w) for maps fine to coarse and ``size`` = (h, w)."""
        check_pyramid(pyramid, self.channels, "The DeepLabv3+ head")
        fine = self.fine(pyramid[self.fine_level])
        coarse = resample(self.aspp(pyramid[-1]), self.coarse_grid, self.fine_grid, grid(fine))
        x = self.out(self.join(torch.cat((coarse, fine), dim=1)))
        return resample(x, self.fine_grid, PIXELS, size)


def build(facts: Facts, n_out: int, **options: Any) -> DeepLabV3PlusDecoder:
    """Return the decoder for the encoder's maps."""
    return DeepLabV3PlusDecoder(facts.channels, facts.strides, facts.offsets, n_out, **options)


HEAD = Head(
    name="deeplabv3plus",
    summary="the DeepLabv3+ decoder",
    reads="pyramid@16",
    build=build,
    options=(
        Option(
            "width",
            None,
            "channels of the pooled pyramid; default: half of the coarsest map's, at most 256",
            type=int,
            low=1,
        ),
        Option("dropout", 0.1, "share of values dropped in training", low=0, high=0.99),
    ),
)
