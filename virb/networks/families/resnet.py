"""ResNets of any depth and width (He et al. 2016): nine by name, the others by their options.

A ResNet's state carries torchvision's names, so that published checkpoints match it tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.families import Family, numbers


class _Dilation(NamedTuple):
    """Steps between the taps of a 3x3 convolution: up to and including the strided one, and after it."""

    before: int
    after: int


def _conv3x3(conv: nn.Module, x: Tensor, dilation: int) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    return F.conv2d(x, conv.weight, conv.bias, 1, dilation, dilation, conv.groups)


class Block(nn.Module):
    expansion: int
    downsample: nn.Sequential | None

    def shortcut(self, x: Tensor, is_dilated: bool) -> Tensor:
        if self.downsample is None:
            return x
        if not is_dilated:
            return self.downsample(x)
        conv, norm = self.downsample
        assert isinstance(conv, nn.Conv2d)
        return norm(F.conv2d(x, conv.weight, conv.bias))


class Conv2d(nn.Conv2d):
    """A convolution whose weights are left as they are in memory: the network draws or loads them, once."""

    def reset_parameters(self) -> None:
        pass


class BasicBlock(Block):
    """Two 3x3 convolutions and a shortcut (He et al. 2016), under torchvision's names."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, inner: int, groups: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride)

    def forward(self, x: Tensor, dilation: _Dilation | None = None) -> Tensor:
        if dilation is None:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        else:
            out = self.relu(self.bn1(_conv3x3(self.conv1, x, dilation.before)))
            out = self.bn2(_conv3x3(self.conv2, out, dilation.after))
        out += self.shortcut(x, dilation is not None)
        return self.relu(out)


class Bottleneck(Block):
    """1x1, 3x3 (strided), 1x1 and a shortcut: torchvision's variant, the one that published ResNet-50s have."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, inner: int, groups: int) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = Conv2d(in_channels, inner, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(inner)
        self.conv2 = Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, out_channels, 1, bias=False)
        self.bn3: nn.Module = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(in_channels, out_channels, stride)

    def forward(self, x: Tensor, dilation: _Dilation | None = None) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.conv2(out) if dilation is None else _conv3x3(self.conv2, out, dilation.before)
        out = self.bn3(self.conv3(self.relu(self.bn2(out))))
        out += self.shortcut(x, dilation is not None)
        return self.relu(out)


def _downsample(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class ResNetSpec(NamedTuple):
    """What tells one ResNet from another: the block, how many in each stage, and the bottleneck's inner width."""

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    groups: int = 1
    inner_width: int = 64  # torchvision's width_per_group


RESNETS: Mapping[str, ResNetSpec] = {
    "resnet18": ResNetSpec(BasicBlock, (2, 2, 2, 2)),
    "resnet34": ResNetSpec(BasicBlock, (3, 4, 6, 3)),
    "resnet50": ResNetSpec(Bottleneck, (3, 4, 6, 3)),
    "resnet101": ResNetSpec(Bottleneck, (3, 4, 23, 3)),
    "resnet152": ResNetSpec(Bottleneck, (3, 8, 36, 3)),
    "resnext50_32x4d": ResNetSpec(Bottleneck, (3, 4, 6, 3), 32, 4),
    "resnext101_32x8d": ResNetSpec(Bottleneck, (3, 4, 23, 3), 32, 8),
    "wide_resnet50_2": ResNetSpec(Bottleneck, (3, 4, 6, 3), 1, 128),
    "wide_resnet101_2": ResNetSpec(Bottleneck, (3, 4, 23, 3), 1, 128),
}
STEMS = ("imagenet", "cifar")


def base_channels(width: float) -> int:
    """Return the stem's channels: 64 times ``width``, rounded to a multiple of 8 (every stage doubles it)."""
    return max(8, 8 * round(8 * width))


class ResNet(Backbone):
    """A ResNet without its classifier (He et al. 2016), at ``width`` times the usual channels.

    ``stem`` is ``"imagenet"`` (7x7 stride 2, max pool) or ``"cifar"`` (3x3 stride 1, no pool; Chen et al. 2020,
    appendix B.9). The pyramid holds the stem's output, before pooling, and the four stages'. Weights start as
    torchvision's do: He-normal convolutions (fan out), BatchNorm at scale 1 and shift 0.
    """

    def __init__(
        self, spec: ResNetSpec, *, width: float = 1.0, stem: str = "imagenet", is_initialised: bool = True
    ) -> None:
        super().__init__()
        base = base_channels(width)
        if stem == "imagenet":
            self.conv1 = Conv2d(3, base, 7, 2, 3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = Conv2d(3, base, 3, 1, 1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1: nn.Module = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)

        in_channels = base
        channels, strides = [base], [2 if stem == "imagenet" else 1]
        for number, depth in enumerate(spec.depths, start=1):
            planes = base * 2 ** (number - 1)
            inner = round(planes * spec.inner_width / 64) * spec.groups
            blocks = []
            for index in range(depth):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(spec.block(in_channels, planes, stride, inner, spec.groups))
                in_channels = planes * spec.block.expansion
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            channels.append(in_channels)
            step = 2 if number > 1 or stem == "imagenet" else 1
            strides.append(strides[-1] * step)
        self.dim = in_channels
        self.channels = tuple(channels)
        self.strides = tuple(strides)

        for module in self.modules():
            if is_initialised and isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> list[nn.Sequential]:
        return [getattr(self, f"layer{number}") for number in range(1, 5)]

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        if output_stride is None:
            return self.strides
        finest = self.strides[1]
        if output_stride < finest or output_stride & (output_stride - 1):
            raise UsageError(
                f"An output stride of {output_stride} is not possible: this ResNet's first stage has stride {finest}, "
                f"and later strides are doubled from there (expected a power of two, at least {finest})."
            )
        return tuple(min(stride, output_stride) for stride in self.strides)

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        return (0.0,) * len(self.strides)  # every convolution and pool is centred on the pixel that it samples

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = self.pyramid(x)
        return maps[-1].mean((2, 3)), maps

    def embed(self, x: Tensor) -> Tensor:
        # Apart from features(), so that no map is kept alive longer than the next stage needs it.
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = stage(x)
        return x.mean((2, 3))

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        targets = self.strides_at(output_stride)
        x = self.relu(self.bn1(self.conv1(x)))
        maps = [x]
        x = self.maxpool(x)
        for stage, stride, before, target in zip(
            self.stages, self.strides[1:], self.strides[:-1], targets[1:], strict=True
        ):
            if stride == target:
                x = stage(x)
            else:
                # Every second tap of a dilated stage sees what the strided one saw: same weights, denser output.
                after = stride // target
                dilation = _Dilation(max(before // target, 1), after)
                for block in stage:
                    x = block(x, dilation)
                    dilation = _Dilation(after, after)
            maps.append(x)
        return maps


def member(name: str) -> Family:
    """Return the family of the ResNets called ``name`` (a key of :data:`RESNETS`), which differ by width and stem."""

    def build(options: Mapping[str, Any], is_initialised: bool) -> ResNet:
        return ResNet(RESNETS[name], **options, is_initialised=is_initialised)

    return Family(
        name,
        {"width": 1.0, "stem": "imagenet"},
        build,
        {"stem": STEMS},
        limits={"width": (0, 16)},
        settle=lambda options: {**options, "width": base_channels(options["width"]) / 64},
    )


DEFAULTS = {
    "block": "bottleneck",
    "depths": "3/4/6/3",
    "channels": 64,  # after the stem; every stage doubles them, and a bottleneck's output has four times as many
    "stem": "imagenet",
}


def build(options: Mapping[str, Any], is_initialised: bool) -> ResNet:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    depths = numbers(options["depths"], "resnet: depths")
    if len(depths) != 4 or min(depths) < 1 or options["channels"] < 8 or options["channels"] % 8:
        raise UsageError(
            f"resnet: depths {options['depths']} and {options['channels']} channels; expected four stages of at least "
            "one block, and a multiple of 8."
        )
    block = BasicBlock if options["block"] == "basic" else Bottleneck
    spec = ResNetSpec(block, (depths[0], depths[1], depths[2], depths[3]))
    return ResNet(spec, width=options["channels"] / 64, stem=options["stem"], is_initialised=is_initialised)


BACKBONE = Family("resnet", DEFAULTS, build, {"block": ("basic", "bottleneck"), "stem": STEMS})
