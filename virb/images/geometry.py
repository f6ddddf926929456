"""Where the cells of a map lie in the image, and the one function that brings a map from one grid onto another.

A position is the index of a pixel: 0 is the centre of the first one. Cell ``k`` of a map lies at ``offset + k * stride``.
The cells of a patch of 16 have their centres at 7.5, 23.5, ...: stride 16 and offset 7.5. A ResNet's convolutions sample
every 16th pixel from the first one on: stride 16 and offset 0, dilated or not.

Nothing is ever stretched to fit: what lies beyond the image (a transformer pads it to whole patches) is cut off, and
where a map ends before the image does, its last cells go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """The places of a map's rows, or of its columns: ``offset + k * stride``, in pixels."""

    stride: float
    offset: float

    @property
    def edge(self) -> float:
        """Where the first cell begins."""
        return self.offset - self.stride / 2


@dataclass(frozen=True)
class Grid:
    """The places of a map's cells: those of its rows and of its columns."""

    rows: Axis
    columns: Axis

    @classmethod
    def of(cls, stride: float, offset: float) -> Grid:
        """Return the grid of cells that are as far apart down as across.

        >>> Grid.of(16, 7.5).rows.edge
        -0.5
        """
        axis = Axis(float(stride), float(offset))
        return cls(axis, axis)

    @classmethod
    def resized(cls, size: Sequence[int], to: Sequence[int]) -> Grid:
        """Return the places that the pixels of an image have which was resized from ``size`` = (h, w) to ``to``.

        >>> Grid.resized((64, 64), (32, 128)).rows
        Axis(stride=2.0, offset=0.5)
        """
        rows, columns = (
            Axis(before / after, (before / after - 1) / 2) for before, after in zip(size, to[:2], strict=True)
        )
        return cls(rows, columns)

    def divided(self, n: int, like: Grid) -> Grid:
        """Return the grid of a learned upsampling that makes ``n`` x ``n`` cells of each, to be joined with ``like``.

        The new cells divide the old one between them; or the first of them stays where the old one is, if the cells of
        ``like`` lie so: those of convolutions, which sample from the first pixel on at every stride.
        """
        return Grid(_divided(self.rows, n, like.rows), _divided(self.columns, n, like.columns))


PIXELS = Grid.of(1, 0)


def grids(strides: Sequence[float], offsets: Sequence[float]) -> list[Grid]:
    """Return the grid of each of a pyramid's maps."""
    return [Grid.of(stride, offset) for stride, offset in zip(strides, offsets, strict=True)]


def centred(strides: Sequence[float]) -> tuple[float, ...]:
    """Return the offsets of maps whose cells are patches, the first of them in the image's corner.

    >>> centred((4, 16))
    (1.5, 7.5)
    """
    return tuple((stride - 1) / 2 for stride in strides)


def resample(x: Tensor, source: Grid, target: Grid, size: tuple[int, int]) -> Tensor:
    """Return the map ``x`` (N, C, h, w), whose cells lie as ``source`` says, at the first ``size`` places of ``target``.

    Bilinear between cells; places beyond the first and the last cell take their values. From a grid onto itself it cuts
    or repeats the last cells, and gives the very numbers.

    >>> ramp = torch.arange(4.0)[None, None, :, None] * 16 + 7.5
    >>> resample(ramp, Grid.of(16, 7.5), PIXELS, (60, 1))[0, 0, 20:24, 0].tolist()
    [20.0, 21.0, 22.0, 23.0]
    """
    if source == target:
        return _fitted(x, size)
    axes = ((source.rows, target.rows), (source.columns, target.columns))
    sides = tuple(int(side) for side in x.shape[-2:])
    # Where they are whole numbers of cells, PyTorch's own two ways to interpolate give the same, and faster.
    if all(_is_near(a.edge, b.edge) for a, b in axes):
        counts = [_whole(n * a.stride / b.stride) for n, (a, b) in zip(sides, axes, strict=True)]
        if None not in counts:
            return _fitted(F.interpolate(x, size=counts, mode="bilinear", align_corners=False), size)  # type: ignore[arg-type]
    if all(_is_near(a.offset, b.offset) for a, b in axes):
        counts = [_whole((n - 1) * a.stride / b.stride + 1) for n, (a, b) in zip(sides, axes, strict=True)]
        if None not in counts:
            return _fitted(F.interpolate(x, size=counts, mode="bilinear", align_corners=True), size)  # type: ignore[arg-type]
    for dim, (a, b) in zip((2, 3), axes, strict=True):
        x = _interpolated(x, dim, a, b, size[dim - 2])
    return x


def _divided(axis: Axis, n: int, like: Axis) -> Axis:
    stride = axis.stride / n
    places = (axis.edge + stride / 2, axis.offset)
    return Axis(stride, min(places, key=lambda place: abs(place - like.offset)))


def _is_near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-6


def _whole(value: float) -> int | None:
    return round(value) if abs(value - round(value)) < 1e-6 else None


def _fitted(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut rows and columns off the end, or repeat the last."""
    x = x[..., : size[0], : size[1]]
    missing = (size[1] - x.shape[-1], size[0] - x.shape[-2])
    return F.pad(x, (0, missing[0], 0, missing[1]), mode="replicate") if any(missing) else x


def _interpolated(x: Tensor, dim: int, source: Axis, target: Axis, n: int) -> Tensor:
    """Return ``n`` places of ``target`` along one dimension."""
    last = x.shape[dim] - 1
    places = torch.arange(n, dtype=torch.float64, device=x.device) * (target.stride / source.stride)
    places = (places + (target.offset - source.offset) / source.stride).clamp(0, last)
    low = places.floor().clamp(max=max(0, last - 1)).long()
    share = (places - low).to(x.dtype).view(-1, *[1] * (3 - dim))
    return torch.lerp(x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=last)), share)
