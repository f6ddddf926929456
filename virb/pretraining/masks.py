"""Which patches a method hides. All numbers are drawn for the whole batch, whatever process an image is on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from virb.errors import UsageError
from virb.training import distributed
from virb.training.transforms import rand

ATTEMPTS = 32  # rectangles that are tried for a mask; BEiT gives up after ten in a row that do not fit


def scattered(n: int, n_patches: int, n_shown: int, generator: torch.Generator) -> Tensor:
    """Draw which ``n_shown`` of the patches of ``n`` images are shown, uniformly: ascending positions (n, n_shown).

    He et al. 2022 (MAE), Section 3: "random sampling without replacement".
    """
    noise = rand(n, n_patches, generator=generator, device=generator.device)
    return noise.argsort(dim=1)[:, :n_shown].sort(dim=1).values


def blocks(
    n: int,
    grid: int,
    generator: torch.Generator,
    *,
    p: float,
    share: tuple[float, float],
    least: float,
    aspect: float = 0.3,
) -> Tensor:
    """Draw rectangles that hide patches of ``n`` images, (n, grid²) bool: of an image in 1 / ``p``, a share of its patches.

    Bao et al. 2022 (BEiT), Algorithm 1, as iBOT and DINOv2 have it: rectangles of ``least`` patches or more and of aspect
    ``aspect`` to 1 / ``aspect`` are added as long as one fits into what is still to be hidden.

    Args:
        p: the probability that patches of an image are hidden.
        share: the least and greatest share of them, drawn uniformly.
        least: the smallest area of a rectangle, in patches, while so much is still to be hidden.
    """
    first = rand(2, n, generator=generator, device=generator.device, dim=1)
    drawn = rand(ATTEMPTS, 4, n, generator=generator, device=generator.device, dim=2)
    wanted = torch.where(first[0] < p, grid**2 * (share[0] + (share[1] - share[0]) * first[1]), torch.zeros(n))
    cells = torch.arange(grid)
    hidden = torch.zeros(n, grid, grid, dtype=torch.bool)
    failures = torch.zeros(n)
    for size, shape, down, across in drawn:
        left = wanted - hidden.sum(dim=(1, 2))
        area = (least + (left - least) * size).clamp_min(0)
        ratio = torch.exp((2 * shape - 1) * math.log(1 / aspect))
        height, width = torch.round((area * ratio).sqrt()), torch.round((area / ratio).sqrt())
        block = _rectangles(height, width, down, across, cells)
        new = (block & ~hidden).sum(dim=(1, 2))
        fits = (height < grid) & (width < grid) & (new > 0) & (new <= left) & (failures < 10)
        hidden |= block & fits[:, None, None]
        failures = torch.where(fits, 0, failures + 1)
    return hidden.flatten(1)


def context_and_targets(
    n: int,
    grid: int,
    generator: torch.Generator,
    *,
    n_targets: int,
    target_scale: tuple[float, float],
    target_aspect: tuple[float, float],
    context_scale: tuple[float, float],
    least: int,
) -> tuple[Tensor, Tensor]:
    """Draw for ``n`` images the patches of a context, (n, K), and of target blocks, (n, n_targets, T), as positions.

    Assran et al. 2023 (I-JEPA), Section 3 and the authors' masks/multiblock.py: the targets' size is drawn once a batch and
    their places for each image; the context is a square, its size drawn likewise, without what the targets cover. It has
    more than ``least`` patches: of twenty places the first that leaves so many, and where none does, targets are let
    overlap it, one after the other. Contexts are cut to the shortest of the batch. Unlike there, blocks may touch the lower
    and right edge: on a coarse grid patches along them would never be seen.

    Raises:
        UsageError: no context of ``least`` patches fits on the grid.
    """
    whole = n * distributed.world_size()
    size, where, tried = (
        torch.rand(shape, generator=generator) for shape in ((2,), (2, whole, n_targets), (2, whole, 20))
    )
    cells = torch.arange(grid)
    side = _side(grid, context_scale[0])
    if side**2 <= least:
        raise UsageError(
            f"A context of {side} x {side} patches has no more than the {least} that it must keep; choose smaller patches, "
            "larger images, or --option min_keep."
        )
    area = int(grid**2 * (target_scale[0] + (target_scale[1] - target_scale[0]) * size[0]))
    ratio = float(target_aspect[0] + (target_aspect[1] - target_aspect[0]) * size[0])  # the one number draws both
    height, width = (max(1, min(grid, round(math.sqrt(x)))) for x in (area * ratio, area / ratio))
    target = _rectangles(
        torch.tensor(height), torch.tensor(width), where[0], where[1], cells
    )  # (whole, n_targets, grid, grid)
    side = _side(grid, float(context_scale[0] + (context_scale[1] - context_scale[0]) * size[1]))
    square = _rectangles(torch.tensor(side), torch.tensor(side), tried[0], tried[1], cells)  # (whole, 20, grid, grid)
    context = torch.zeros(whole, grid, grid, dtype=torch.bool)
    is_found = torch.zeros(whole, dtype=torch.bool)
    for n_spared in range(n_targets, -1, -1):
        left = square & ~target[:, :n_spared].any(dim=1)[:, None]
        fits = left.sum(dim=(2, 3)) > least
        first = left[torch.arange(whole), fits.to(torch.uint8).argmax(dim=1)]
        is_new = fits.any(dim=1) & ~is_found
        context[is_new] = first[is_new]
        is_found |= is_new
        if bool(is_found.all()):
            break
    n_context = int(context.sum(dim=(1, 2)).min())
    return (
        distributed.own_rows(_positions(context.flatten(1), n_context)),
        distributed.own_rows(_positions(target.flatten(2), height * width)),
    )


def _side(grid: int, scale: float) -> int:
    return max(1, min(grid, round(math.sqrt(int(grid**2 * scale)))))


def _rectangles(height: Tensor, width: Tensor, down: Tensor, across: Tensor, cells: Tensor) -> Tensor:
    """Return rectangles at places uniform in all that fit, (..., grid, grid) bool, for ``down`` and ``across`` in [0, 1)."""

    def covered(length: Tensor, place: Tensor) -> Tensor:
        start = torch.floor(place * (len(cells) - length + 1).clamp_min(1))[..., None]
        return (cells >= start) & (cells < start + length[..., None])

    return covered(height, down)[..., :, None] & covered(width, across)[..., None, :]


def _positions(chosen: Tensor, count: int) -> Tensor:
    """Return the first ``count`` positions that are true in the last dimension of ``chosen``."""
    return chosen.to(torch.uint8).sort(dim=-1, descending=True, stable=True).indices[..., :count]
