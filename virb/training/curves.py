"""A head's training curve: its mean training loss at a few epochs, which records keep and reports draw."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

MOST_POINTS = 20


def points(n_epochs: int) -> frozenset[int]:
    """Return the epochs (from 1) at which a curve has a point: all of a few, else about twenty, dense at the start.

    >>> sorted(points(4))
    [1, 2, 3, 4]
    >>> sorted(points(100))[:5], max(points(100))
    ([1, 2, 3, 4, 5], 100)
    """
    if n_epochs <= MOST_POINTS:
        return frozenset(range(1, n_epochs + 1))
    return frozenset(round(n_epochs ** (k / (MOST_POINTS - 1))) for k in range(MOST_POINTS))


class Curve:
    """Takes the mean loss of every batch, and puts its mean over the epochs that are points into ``losses``, by epoch.

    An epoch without a target, or whose loss is not finite, has no point. A loss on a GPU is waited for at these epochs
    alone.
    """

    def __init__(self, losses: dict[int, float], *, n_batches: int, n_steps: int) -> None:
        self.losses = losses
        self._n_batches, self._n_steps = n_batches, n_steps
        self._points = points(-(-n_steps // n_batches))
        self._batches: list[Tensor] = []

    def add(self, step: int, loss: Tensor | None) -> None:
        """Take the mean loss of the batch of ``step`` (from 0); None where no example of it has a target."""
        epoch = step // self._n_batches + 1
        if epoch not in self._points:
            return
        if loss is not None:
            self._batches.append(loss.detach())
        if self._batches and (step + 1 == self._n_steps or (step + 1) % self._n_batches == 0):
            mean = float(torch.stack(self._batches).float().mean())
            if math.isfinite(mean):
                self.losses[epoch] = mean
            self._batches = []


def as_recorded(losses: Iterable[tuple[int, float]]) -> dict[str, float]:
    """Return a curve as a record keeps it: six digits, by epoch in order."""
    return {str(epoch): float(f"{loss:.6g}") for epoch, loss in sorted(losses)}
