"""ResNets with selective kernels, as SimCLR v2 has them (Chen et al. 2020b; Li et al. 2019), under its converter's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.families import Family, numbers

DEFAULTS = {
    "depths": "3/4/6/3",
    "channels": 64,  # after the stem; every stage doubles them, and a block's output has four times as many
    "mixing": "32/32/32/32",  # the width inside each stage's choice between the two kernels
}


def _conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


def _norm(channels: int, *, relu: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU() if relu else nn.Identity())


class _Kernels(nn.Module):
    """Two 3x3 convolutions, mixed channel by channel by weights that their means decide."""

    def __init__(self, channels: int, stride: int, mixing: int) -> None:
        super().__init__()
        self.main_conv = nn.Sequential(_conv(channels, 2 * channels, stride=stride), _norm(2 * channels))
        self.mixing_conv = nn.Sequential(_conv(channels, mixing, 1), _norm(mixing), _conv(mixing, 2 * channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        both = self.main_conv(x).unflatten(1, (2, -1))
        weights = self.mixing_conv(both.sum(1).mean((2, 3), keepdim=True)).unflatten(1, (2, -1))
        return (both * weights.softmax(1)).sum(1)


class _Projection(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride), _conv(before, after, 1))
        self.bn = _norm(after, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.shortcut(x))


class _Block(nn.Module):
    def __init__(self, before: int, channels: int, stride: int, mixing: int, *, is_first: bool) -> None:
        super().__init__()
        self.projection = _Projection(before, channels * 4, stride) if is_first else nn.Identity()
        self.net = nn.Sequential(
            _conv(before, channels, 1),
            _norm(channels),
            _Kernels(channels, stride, mixing),
            _conv(channels, channels * 4, 1),
            _norm(channels * 4, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.projection(x) + self.net(x))


class _Stage(nn.Module):
    def __init__(self, before: int, channels: int, depth: int, stride: int, mixing: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(channels * 4 if index else before, channels, 1 if index else stride, mixing, is_first=not index)
            for index in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class SkResNet(Backbone):
    """The network. The embedding is the last stage's mean; the pyramid is the stem's output and the four stages'."""

    head_names = ("fc",)

    def __init__(self, options: Mapping[str, Any], is_initialised: bool) -> None:
        super().__init__()
        depths = numbers(options["depths"], "sk_resnet: depths")
        mixing = numbers(options["mixing"], "sk_resnet: mixing")
        base = options["channels"]
        if len(depths) != 4 or len(mixing) != 4 or min(*depths, *mixing) < 1 or base < 2 or base % 2:
            raise UsageError(
                f"sk_resnet: depths {depths} and mixing {mixing} must be of four stages, and {base} channels be even."
            )
        half = base // 2
        stem = nn.Sequential(
            *(_conv(3, half, stride=2), _norm(half), _conv(half, half), _norm(half), _conv(half, base), _norm(base)),
            nn.MaxPool2d(3, 2, 1),
        )
        stages: list[nn.Module] = [stem]
        before = base
        for number, (depth, mix) in enumerate(zip(depths, mixing, strict=True)):
            channels = base * 2**number
            stages.append(_Stage(before, channels, depth, 2 if number else 1, mix))
            before = channels * 4
        self.net = nn.Sequential(*stages)
        self.dim = before
        self.channels = (base, *(base * 4 * 2**number for number in range(4)))
        self.strides = (2, 4, 8, 16, 32)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        stem = self.net[0]
        assert isinstance(stem, nn.Sequential)
        maps = [stem[:-1](x)]
        x = stem[-1](maps[0])
        for stage in self.net[1:]:
            x = stage(x)
            maps.append(x)
        return x.mean((2, 3)), maps


BACKBONE = Family("sk_resnet", DEFAULTS, SkResNet)
