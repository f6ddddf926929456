"""Where the cells of a network's maps lie in the image, measured where the network does not say it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from virb.images.geometry import centred
from virb.system.threads import own_generator

if TYPE_CHECKING:
    from virb.networks.base import Backbone


def measured_offsets(network: Backbone, output_stride: int | None = None) -> tuple[float, ...]:
    """Return the offset (:mod:`virb.images.geometry`) of each of a network's maps, to half a pixel.

    Cells in the middle are followed back to the pixels that move them: the centroid of their squared gradients is where
    a cell lies. That is a matter of the layers' kernels, strides and padding, and not of the weights, which would only
    add noise: it is measured on a copy whose kernels are the same at each of their taps and whose pools are averages.
    Where neighbours do not lie a stride apart so, as cells that see everything do not, or where no gradient comes back,
    the cells are taken for patches.
    """
    strides = network.strides_at(output_stride)
    patches = centred(strides)
    even = copy.deepcopy(network).cpu().float().eval()
    size = getattr(network, "example_size", max(224, 7 * max(strides, default=1)))
    with own_generator(0):
        _even_out(even)
        x = (1 + 0.01 * torch.randn(1, 3, size, size)).requires_grad_()
    try:
        with torch.enable_grad():
            maps = even.pyramid(x, output_stride)
            return tuple(
                _offset(x, found, stride, patch) for found, stride, patch in zip(maps, strides, patches, strict=True)
            )
    except RuntimeError:  # somebody's network that lets no gradient through
        return patches


def _even_out(network: nn.Module) -> None:
    """Give every tap of a kernel the same positive weights, every BatchNorm no effect, and every maximum the mean."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool if child.dilation in (1, (1, 1)) else child)
        if isinstance(module, nn.Conv2d):
            n_out, n_in, *kernel = module.weight.shape
            between = (0.5 + torch.rand(n_out, n_in, 1, 1)) / (n_in * kernel[0] * kernel[1])
            module.weight.data = between.expand(module.weight.shape).contiguous()
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.reset_parameters()


def _offset(x: Tensor, found: Tensor, stride: float, patch: float) -> float:
    side = found.shape[2]
    if side < 4:
        return patch
    middle = side // 2
    before, after = (_centroid(x, found[:, :, row]) for row in (middle - 1, middle))
    if not abs(after - before - stride) <= 0.25 * stride:
        return patch
    return round(before + after - stride * (2 * middle - 1)) / 2


def _centroid(x: Tensor, cells: Tensor) -> float:
    """Return the row of the image that a row of cells (1, C, w) lies on: the centroid of their squared gradients.

    Only what exceeds half of the largest counts: what every pixel does to every cell, by attention or a pooled gate, and
    the image's end in a cell's field of view pull it nowhere.
    """
    (gradient,) = torch.autograd.grad(cells.square().sum(), x, retain_graph=True)
    weight = gradient.double().square().sum((0, 1, 3))
    weight = (weight - weight.max() / 2).clamp(min=0)
    return float((weight * torch.arange(len(weight))).sum() / weight.sum().clamp(min=1e-300))
