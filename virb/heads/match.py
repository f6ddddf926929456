"""Correspondence without training: every pixel of the first image goes to the most similar cell of the second."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.parts import Option
from virb.images.geometry import PIXELS, grids, resample

ROWS_AT_ONCE = 16
POINTS_AT_ONCE = 8192


class Match(nn.Module):
    """Flow (N, 2, h, w) in pixels, right and down, by nearest neighbours; it has no weights.

    The first image's features are sampled between its cells, the second's are its cells as they are; the nearest is the one
    of the largest cosine, and a cell lies where its middle is (Probe3D and SPair's evaluations take its corner there, half
    a cell off). Of a pyramid the coarsest map is read whose stride is at most ``stride``, else the finest.
    """

    is_in_pixels = (
        True  # its outputs are lengths in the image that it is given: asked by the point where targets are larger
    )

    def __init__(self, strides: Sequence[float], offsets: Sequence[float], stride: int, n_out: int = 2) -> None:
        super().__init__()
        self.n_out = n_out
        fitting = [k for k, found in enumerate(strides) if found <= stride]
        self.level = fitting[-1] if fitting else 0
        self.place = grids(strides, offsets)[self.level]

    def forward(self, first: Sequence[Tensor], second: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the flow for maps fine to coarse of both images and ``size`` = (h, w)."""
        pairs = zip(first[self.level], second[self.level], strict=True)
        return torch.stack([self._one(a, b, size) for a, b in pairs])

    def at(self, a: Sequence[Tensor], b: Sequence[Tensor], size: tuple[int, int], points: Tensor) -> Tensor:
        """Return where in the second image the ``points`` (K, 2) of the first are found, both (x, y) in pixels.

        ``a`` and ``b`` are the maps (C, h', w') of one pair; the points may lie between pixels.
        """
        first, second = a[self.level], b[self.level]
        x, y = self._cells(second, size)
        axes = (self.place.columns, self.place.rows)
        # In cells of the map, of which the first and the last go on.
        where = torch.stack([(points[:, k] - axis.offset) / axis.stride for k, axis in enumerate(axes)], dim=1)
        sides = where.new_tensor([first.shape[2], first.shape[1]])
        grid = (2 * where + 1) / sides - 1
        here = F.grid_sample(
            first[None], grid[None, None].to(first), mode="bilinear", padding_mode="border", align_corners=False
        )
        cells = F.normalize(second.flatten(1), dim=0)
        nearest = torch.cat([(part @ cells).argmax(1) for part in here[0, :, 0].t().split(POINTS_AT_ONCE)])
        return torch.stack([x[nearest % len(x)], y[nearest // len(x)]], dim=1)

    def _cells(self, found: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the middles of a map's columns and of its rows, in pixels of the image that it is of."""
        rows, columns = self.place.rows, self.place.columns
        y = (torch.arange(found.shape[1], device=found.device) * rows.stride + rows.offset).clamp(0, size[0] - 1)
        x = (torch.arange(found.shape[2], device=found.device) * columns.stride + columns.offset).clamp(0, size[1] - 1)
        return x, y

    def _one(self, a: Tensor, b: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = size
        x, y = self._cells(b, size)
        cells = F.normalize(b.flatten(1), dim=0)  # (C, n)
        here = resample(a[None], self.place, PIXELS, size)[0]  # (C, h, w)
        flow = torch.zeros(max(2, self.n_out), height, width, device=a.device)
        across = torch.arange(width, device=a.device)
        for start in range(0, height, ROWS_AT_ONCE):
            part = here[:, start : start + ROWS_AT_ONCE]
            nearest = (part.flatten(1).t() @ cells).argmax(1).view(part.shape[1:])  # lengths of the first do not matter
            down = torch.arange(start, start + part.shape[1], device=a.device)
            flow[0, start : start + ROWS_AT_ONCE] = x[nearest % len(x)] - across
            flow[1, start : start + ROWS_AT_ONCE] = y[nearest // len(x)] - down[:, None]
        return flow


def build(facts: Facts, n_out: int, *, stride: int) -> Match:
    """Return the head for the encoder's maps; of more than two outputs the others are 0."""
    return Match(facts.strides, facts.offsets, stride, n_out)


HEAD = Head(
    name="match",
    summary="no training: each pixel of the first image goes to the most similar cell of the second",
    reads="pyramid@16",
    build=build,
    options=(Option("stride", 16, "the coarsest map of at most this stride is read", low=1),),
    min_frames=2,
    max_frames=2,
    trains=False,
)
