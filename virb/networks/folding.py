"""BatchNorm folded into the convolutions that it follows, for inference."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.networks.families.resnet import Block, Conv2d, ResNet
from virb.system.products import linear


def fold_batchnorm(backbone: nn.Module) -> int:
    """Fold every BatchNorm2d that directly follows a bias-free convolution of a ResNet into it, in place.

    For inference only. Works in double precision, so that the result differs by rounding alone. Returns how many were
    folded; networks without torchvision's names are left as they are.
    """
    n_folded = 0
    for module in list(backbone.modules()):
        if isinstance(module, ResNet | Block):
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
        out = linear(x.permute(0, 2, 3, 1).reshape(n, -1), matrix, bias)
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
