"""The networks that are pretrained and then frozen: ResNets of any width, Vision Transformers, and raw pixels.

A ResNet's state carries torchvision's names, so that published checkpoints match it tensor by tensor. Networks that
need timm or torchvision live in ``virb.networks.external``, which is imported only when one of them is asked for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.errors import UsageError
from virb.images.geometry import centred
from virb.networks import families
from virb.networks.places import measured_offsets
from virb.system.threads import own_generator


class Backbone(nn.Module):
    """A network that turns images into one vector each and into a pyramid of maps.

    ``dim`` is the length D of the embedding; ``channels`` and ``strides`` describe the pyramid, finest map first.
    """

    dim: int
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    label = "a network"  # what build_backbone was asked for, as one writes it after arch=
    key_prefix = ""  # what state_dict() puts before the names that published files use
    head_names: tuple[str, ...] = ("fc",)  # the classifier's names in published files, left out here
    forbidden_names: tuple[str, ...] = ()  # parts whose presence in a file means another network
    variant = ""  # what neither the architecture's name nor the tensors tell of what it computes

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding (N, D) and the pyramid of ``x`` (N, 3, h, w) from a single pass."""
        raise NotImplementedError

    def embed(self, x: Tensor) -> Tensor:
        """Return one vector for each image: (N, 3, h, w) -> (N, D)."""
        return self.features(x)[0]

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        """Return maps from fine to coarse: (N, channels[k], ceil(h / strides[k]), ceil(w / strides[k])).

        With ``output_stride`` no map is coarser than that: the strides beyond it become dilations of the same weights
        ("a trous", Chen et al. 2017). Networks without convolutional stages give the maps that they have; a head reads
        the strides and sets its own rates by them.
        """
        self.strides_at(output_stride)
        return self.features(x)[1]

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        """Return the strides of ``pyramid(x, output_stride)``: a network that cannot be dilated keeps its own.

        Raises:
            UsageError: the stride is none that a network of this kind could have.
        """
        return self.strides

    def offsets_at(self, output_stride: int | None = None) -> tuple[float, ...]:
        """Return where the first cell of each map of ``pyramid(x, output_stride)`` has its centre, in pixels from the
        first one's (:mod:`virb.images.geometry`). A network that does not say it is measured.
        """
        return measured_offsets(self, output_stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x)


# ---------------------------------------------------------------------------------------------------------- ResNet


class _Dilation(NamedTuple):
    """Steps between the taps of a 3x3 convolution: up to and including the strided one, and after it."""

    before: int
    after: int


def _conv3x3(conv: nn.Module, x: Tensor, dilation: int) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    return F.conv2d(x, conv.weight, conv.bias, 1, dilation, dilation, conv.groups)


class _Block(nn.Module):
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


class BasicBlock(_Block):
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


class Bottleneck(_Block):
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


# ---------------------------------------------------------------------------------------------------------- pixels


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


# ------------------------------------------------------------------------------------------------- names and options

VIT_NAME = re.compile(r"vit_(tiny|small|base|large)_patch(8|14|16|32)")
VIT_SIZES: Mapping[str, dict[str, int]] = {
    "tiny": {"embed_dim": 192, "depth": 12, "heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "heads": 16},
}
_SUGGESTED = (*RESNETS, "vit_tiny_patch16", "vit_small_patch16", "vit_base_patch16", "vit_large_patch16", "pixels")


def _defaults(arch: str) -> dict[str, Any]:
    """Return the options of ``arch`` at their defaults, whose types are the options' types."""
    if arch in RESNETS:
        return {"width": 1.0, "stem": "imagenet"}
    if (vit := VIT_NAME.fullmatch(arch)) is not None:
        size = VIT_SIZES[vit[1]]
        return {"image_size": 224, "depth": size["depth"], "heads": size["heads"], "pool": "token"}
    if arch == "pixels":
        return {"grid": 8}
    library, colon, name = arch.partition(":")
    if library in ("timm", "torchvision") and colon and name:
        return {}
    family = families.find(arch)
    if family is not None:
        return dict(family.defaults)
    close = difflib.get_close_matches(arch, _SUGGESTED, 3, 0.5)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise UsageError(
        f"Unknown architecture {arch!r}.{hint} Known are {', '.join(_SUGGESTED)} (patches of 8, 14, 16 or 32), the "
        f"families {', '.join(families.names())} with all their sizes as options, and any model of two libraries as "
        "timm:NAME and torchvision:NAME."
    )


def canonical_architecture(arch: str, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return the name and *all* options of an architecture, defaults filled in, so that equal networks compare equal.

    Options may be texts, as a command line gives them. ``torchvision:resnet50`` becomes our own ``resnet50``.

    Raises:
        UsageError: an unknown architecture or option, or a value that the option cannot take.
    """
    library, _, name = arch.partition(":")
    if library == "torchvision" and name in RESNETS:
        arch = name
    if is_module(arch):  # it is described by its code, not by options
        return arch, dict(options or {})
    full = _defaults(arch)
    for key, value in (options or {}).items():
        if key not in full:
            close = difflib.get_close_matches(key, full, 1, 0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            known = f"it takes {', '.join(full)}" if full else "it takes none"
            raise UsageError(f"{arch} has no option {key!r};{hint} {known}.")
        kind = type(full[key])
        try:
            if kind is int and isinstance(value, float) and not value.is_integer():
                raise ValueError
            full[key] = kind(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{arch}: option {key} is {value!r}; expected {kind.__name__}.") from error
    _check_options(arch, full)
    if "width" in full:
        full["width"] = base_channels(full["width"]) / 64
    return arch, full


def is_module(arch: str) -> bool:
    """Whether ``arch`` stands for a module that was wrapped (:func:`virb.wrap`), which no name builds."""
    return arch.startswith("module:")


def _check_options(arch: str, options: Mapping[str, Any]) -> None:
    family = families.find(arch)
    if family is not None:
        family.check(arch, options)
        return
    for key, value in options.items():
        if key == "width":
            is_good, expected = 0 < value <= 16, "a number above 0 and at most 16, such as 0.25, 1, 2 or 4"
        elif key == "stem":
            is_good, expected = value in STEMS, " or ".join(STEMS)
        elif key == "pool":
            is_good, expected = value in ("token", "avg"), "token or avg"
        elif key == "grid":
            is_good, expected = 1 <= value <= 256, "a whole number from 1 to 256"
        else:
            is_good, expected = value >= 1, "a whole number of at least 1"
        if not is_good:
            raise UsageError(f"{arch}: option {key} is {value!r}; expected {expected}.")


def build_backbone(arch: str, **options: Any) -> Backbone:
    """Return the network called ``arch`` with fresh weights (drawn from torch's global generator).

    ========================================  ====================================================================
    resnet18, 34, 50, 101, 152,               ``width`` (1.0): multiplies the channels; ``stem``: imagenet or cifar
    resnext50_32x4d, wide_resnet50_2, ...
    vit_tiny, small, base, large _patch16     ``image_size`` (224) of the position embedding, ``depth``, ``heads``,
    (or 8, 14, 32)                            ``pool``: token (the class token, the default) or avg (of the patches)
    vit, and the other files of families/     all sizes as options: ``dim``, ``depth``, ``heads``, ``patch``, ...
    pixels                                    ``grid`` (8): the embedding is the image averaged to grid x grid
    timm:NAME, torchvision:NAME               no options
    ========================================  ====================================================================

    Raises:
        UsageError: an unknown name or option, or a value that the option cannot take.
    """
    return _build(arch, options, is_initialised=True)


def blank_backbone(arch: str, options: Mapping[str, Any] | None = None) -> Backbone:
    """Return a network whose weights are about to be loaded: they hold anything, and no random number was used up."""
    with own_generator():
        return _build(arch, options, is_initialised=False)


def _build(arch: str, options: Mapping[str, Any] | None, *, is_initialised: bool) -> Backbone:
    arch, full = canonical_architecture(arch, options)
    if is_module(arch):
        raise UsageError(
            f"{arch} is a module that was wrapped, and no name builds it. Give the code that makes it: FILE.py:FUNCTION."
        )
    backbone: Backbone
    if arch in RESNETS:
        backbone = ResNet(RESNETS[arch], **full, is_initialised=is_initialised)
    elif arch == "pixels":
        backbone = Pixels(**full)
    elif (family := families.find(arch)) is not None:
        backbone = family.build(full, is_initialised)
    else:
        from virb.networks.external import ViT, build_external

        vit = VIT_NAME.fullmatch(arch)
        if vit is not None:
            backbone = ViT(VIT_SIZES[vit[1]]["embed_dim"], int(vit[2]), **full)
        else:
            backbone = build_external(arch)
    backbone.label = spell_architecture(arch, full)
    return backbone


def spell_architecture(arch: str, options: Mapping[str, Any]) -> str:
    """Return an architecture as one writes it, options that are not at their default included: resnet18:width=0.25."""
    arch, full = canonical_architecture(arch, options)
    if is_module(arch):
        return arch
    default = _defaults(arch)
    changed = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in full.items()
        if default[key] != value
    ]
    return f"{arch}:{','.join(changed)}" if changed else arch


def fold_batchnorm(backbone: nn.Module) -> int:
    """Fold every BatchNorm2d that directly follows a bias-free convolution of a ResNet into it, in place.

    For inference only. Works in double precision, so that the result differs by rounding alone. Returns how many were
    folded; networks without torchvision's names are left as they are.
    """
    n_folded = 0
    for module in list(backbone.modules()):
        if isinstance(module, ResNet | _Block):
            for number in (1, 2, 3):
                conv, norm = getattr(module, f"conv{number}", None), getattr(module, f"bn{number}", None)
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, f"conv{number}", FoldedConv2d(conv, norm))
                    setattr(module, f"bn{number}", nn.Identity())
                    n_folded += 1
            downsample = getattr(module, "downsample", None)
            if downsample is not None and isinstance(downsample[1], nn.BatchNorm2d):
                downsample[0] = FoldedConv2d(downsample[0], downsample[1])
                downsample[1] = nn.Identity()
                n_folded += 1
    return n_folded


class FoldedConv2d(Conv2d):
    """A convolution with the BatchNorm that follows it folded in, for inference.

    An input with fewer pixels than the kernel has taps, as in the last stages on small images, is multiplied by the
    matrix that the convolution is: the taps that would meet the padding are left out. On a 1 x 1 map that is a ninth of a
    3 x 3 kernel's multiplications, on 2 x 2 four ninths.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
        )
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        bias = norm.bias.double() - norm.running_mean.double() * scale
        weight = conv.weight.double() * scale[:, None, None, None]
        self.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        self.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
        self._matrices: dict[tuple[int, int], tuple[Tensor, Tensor, int, int]] = {}

    def _apply(self, fn: Any, recurse: bool = True) -> FoldedConv2d:
        self._matrices.clear()  # they are of another device or type than the weights will be
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        if height * width >= self.kernel_size[0] * self.kernel_size[1] or self.groups > 1:
            return super().forward(x)
        if (height, width) not in self._matrices:
            self._matrices[height, width] = self._matrix(height, width)
        matrix, bias, out_height, out_width = self._matrices[height, width]
        out = F.linear(x.permute(0, 2, 3, 1).reshape(n, -1), matrix, bias)
        return out.reshape(n, out_height, out_width, self.out_channels).permute(0, 3, 1, 2)

    def _matrix(self, height: int, width: int) -> tuple[Tensor, Tensor, int, int]:
        """Return the weights (h' w' C', h w C), the bias (h' w' C',) and h' and w' for an input of h x w pixels."""
        shape: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        with torch.device("meta"):
            blank = F.conv2d(torch.empty(1, 1, height, width), torch.empty(1, 1, *self.kernel_size), **shape)
        out_height, out_width = blank.shape[2:]
        # Which pixel, from 1, each tap of each output meets: (taps, outputs), 0 in the padding.
        pixels = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
        met = F.unfold(pixels, self.kernel_size, **shape)[0].int().tolist()
        taps = self.weight.flatten(2)
        matrix = taps.new_zeros(out_height * out_width, self.out_channels, height * width, self.in_channels)
        for tap, row in enumerate(met):
            for out, pixel in enumerate(row):
                if pixel:
                    matrix[out, :, pixel - 1] = taps[:, :, tap]
        assert self.bias is not None
        bias = self.bias.repeat(out_height * out_width)
        return matrix.view(len(bias), -1), bias, out_height, out_width
