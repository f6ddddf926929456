"""CLIP's ResNets (Radford et al. 2021): a stem of three convolutions, average pools for strides, attention pooling.

The names are those of the release (openai/CLIP: clip/model.py), so that its state is this network's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.families import Family, numbers

DEFAULTS = {
    "depths": "3/4/6/3",
    "channels": 64,  # after the stem; every stage doubles them, and a block's output has four times as many
    "heads": 32,  # of the attention pooling
    "image_size": 224,  # of the attention pooling's position embedding
    "project": 1024,  # the embedding's length
}


class _Block(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or in_channels != channels * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels * 4, 1, bias=False), nn.BatchNorm2d(channels * 4)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        return F.relu(out + self.downsample(self.avgpool(x)))


class _AttentionPool(nn.Module):
    """One query, the mean of all places, attends to them (and to itself)."""

    def __init__(self, side: int, dim: int, heads: int, out: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(side**2 + 1, dim) / dim**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.c_proj = nn.Linear(dim, out)
        self.side, self.heads = side, heads

    def forward(self, x: Tensor) -> Tensor:
        n, _, rows, columns = x.shape
        places = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([places.mean(1, keepdim=True), places], dim=1) + self._positions(rows, columns)

        def split(tensor: Tensor) -> Tensor:
            return tensor.view(n, -1, self.heads, tensor.shape[-1] // self.heads).transpose(1, 2)

        query, key, value = split(self.q_proj(tokens[:, :1])), split(self.k_proj(tokens)), split(self.v_proj(tokens))
        return self.c_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(1))

    def _positions(self, rows: int, columns: int) -> Tensor:
        table = self.positional_embedding
        if (rows, columns) == (self.side, self.side):
            return table
        grid = table[1:].T.reshape(1, -1, self.side, self.side)
        grid = F.interpolate(grid, (rows, columns), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([table[:1], grid.flatten(2)[0].T])


class ClipResNet(Backbone):
    """The network. The embedding is what encode_image gives; the pyramid is the stem's output and the four stages'."""

    def __init__(self, options: Mapping[str, Any], is_initialised: bool) -> None:
        super().__init__()
        depths, base = numbers(options["depths"], "clip_resnet: depths"), options["channels"]
        if len(depths) != 4 or base < 2 or base % 2 or not options["project"]:
            raise UsageError(f"clip_resnet: depths {depths} must be of four stages, and {base} channels be even.")
        if not options["heads"] or base * 32 % options["heads"] or options["image_size"] % 32:
            raise UsageError(
                f"clip_resnet: {options['heads']} heads must divide {base * 32}, and 32 the image size "
                f"{options['image_size']}."
            )
        half = base // 2
        self.conv1 = nn.Conv2d(3, half, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, base, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(base)
        before = base
        for number, depth in enumerate(depths):
            channels = base * 2**number
            blocks = []
            for index in range(depth):
                blocks.append(_Block(before, channels, 2 if number and not index else 1))
                before = channels * 4
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))
        self.attnpool = _AttentionPool(options["image_size"] // 32, before, options["heads"], options["project"])
        self.dim = options["project"]
        self.channels = (base, *(base * 4 * 2**number for number in range(4)))
        self.strides = (2, 4, 8, 16, 32)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.pyramid(x)
        return self.attnpool(maps[-1]), maps

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        self.strides_at(output_stride)
        for number in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        maps = [x]
        x = F.avg_pool2d(x, 2)
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
            maps.append(x)
        return maps


BACKBONE = Family("clip_resnet", DEFAULTS, ClipResNet)
