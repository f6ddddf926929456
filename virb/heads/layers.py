"""The layers that the dense heads share: convolutions that accept a batch of one, and pixel shuffle by doublings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from virb.images.geometry import Grid, resample


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that uses its running statistics where a training batch has a single value a channel.

    PyTorch refuses that case, and it happens: a pooled branch with a batch of one, a 32x32 image at stride 32. With two
    values or more it is ``nn.BatchNorm2d`` exactly.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class Dropout(nn.Module):
    """Dropout with random numbers of its own, seeded when it is made: heads that train side by side do not disturb
    each other, as they would through PyTorch's one global generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.seed = int(torch.randint(2**31, ()))
        self._generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(device=x.device).manual_seed(self.seed)
        is_kept = torch.rand(x.shape, generator=self._generator, device=x.device) >= self.p
        return x * is_kept / (1 - self.p)


def with_own_layers(module: nn.Module) -> nn.Module:
    """Replace every ``nn.BatchNorm2d`` and ``nn.Dropout`` inside ``module`` (from elsewhere) by ours, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        elif type(child) is nn.BatchNorm2d:
            safe = BatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum, affine=child.affine)
            safe.load_state_dict(child.state_dict())
            setattr(module, name, safe)
        else:
            with_own_layers(child)
    return module


class ConvBlock(nn.Sequential):
    """3x3 convolution, BatchNorm, ReLU: (N, C_in, h, w) -> (N, C_out, h, w)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        super().__init__(conv, BatchNorm2d(n_out), nn.ReLU(inplace=True))


class Doubling(nn.Sequential):
    """Pixel shuffle by two after a 1x1 convolution: (N, C, h, w) -> (N, C, 2h, 2w) (Shi et al. 2016).

    The four sub-pixels start equal (ICNR, Aitken et al. 2017), so that training begins without a checkerboard.
    """

    def __init__(self, n_channels: int) -> None:
        conv = nn.Conv2d(n_channels, 4 * n_channels, 1)
        with torch.no_grad():
            kernel = torch.empty(n_channels, n_channels, 1, 1)
            nn.init.kaiming_normal_(kernel, nonlinearity="linear")
            conv.weight.copy_(kernel.repeat_interleave(4, dim=0))
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        super().__init__(conv)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``F.pixel_shuffle(conv(input), 2)``, its values and gradients, in half the time on a CPU.

        The convolution gives its channels as (sub-pixel, channel) rather than (channel, sub-pixel): with the channels
        last in memory, what is moved are then runs of them instead of single numbers.
        """
        conv, channels = self[0], input.shape[1]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        weight = conv.weight.view(channels, 4, channels, 1, 1).transpose(0, 1).flatten(0, 1)
        x = F.conv2d(input, weight, conv.bias.view(channels, 4).t().flatten())
        n, _, height, width = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, height, width, 2, 2, channels).transpose(2, 3)
        return x.reshape(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


class UpBlock(nn.Module):
    """A convolution, then ``n_doublings`` pixel shuffles with a convolution between them, onto another grid.

    With no doubling (two maps of one stride) it is the convolution alone.
    """

    def __init__(self, n_in: int, n_out: int, n_doublings: int, source: Grid, target: Grid) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvBlock(n_in, n_out)]
        for k in range(n_doublings):
            if k:
                layers.append(ConvBlock(n_out, n_out))
            layers.append(Doubling(n_out))
        self.layers = nn.Sequential(*layers)
        self.target = target
        self.reached = source.divided(2**n_doublings, target) if n_doublings else source

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the map at the first ``size`` places of the target's grid."""
        return resample(self.layers(x), self.reached, self.target, size)


def n_doublings(coarse_stride: float, fine_stride: float) -> int:
    """Return how many doublings lead from one stride to the other, to the nearest (14 to 1: four, and a resize)."""
    return max(0, round(math.log2(coarse_stride / fine_stride)))


def output_layer(n_in: int, n_out: int, kernel_size: int) -> nn.Conv2d:
    """Return the last convolution: small random weights around zero outputs."""
    conv = nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def grid(x: Tensor) -> tuple[int, int]:
    """Return (h, w) of a map (N, C, h, w)."""
    return int(x.shape[-2]), int(x.shape[-1])


def check_facts(channels: Sequence[int], strides: Sequence[float], offsets: Sequence[float]) -> None:
    """Raise ValueError where these do not describe one pyramid."""
    if not channels or not len(channels) == len(strides) == len(offsets):
        raise ValueError(
            f"channels, strides and offsets must be of one length >= 1; found {channels}, {strides} and {offsets}."
        )


def check_pyramid(pyramid: Sequence[Tensor], channels: Sequence[int], what: str) -> None:
    """Raise ValueError where the maps are not those that the head was built for."""
    found = [int(level.shape[1]) for level in pyramid]
    if found != list(channels):
        raise ValueError(f"{what} was built for maps of {list(channels)} channels, fine to coarse; found {found}.")
