"""The squared earth mover's distance between the predicted and the true class, for classes in an order.

Hou, Yu and Samaras 2016 (Squared Earth Mover's Distance-based Loss for Training Deep Neural Networks), Equation 8 with
l = 2: the sum over classes of the squared difference of the cumulative distributions. A neighbour costs less than a class
further away.
"""

from __future__ import annotations

import torch
from torch import Tensor

from virb.contracts.loss import Loss


def total(outputs: Tensor, targets: Tensor, ignore_index: int | None = None) -> tuple[Tensor, int]:
    """Return the sum over the targets that count, and their number."""
    wanted = targets.long()
    counts = torch.ones_like(wanted, dtype=torch.bool) if ignore_index is None else wanted != ignore_index
    reached = outputs.softmax(dim=1).cumsum(dim=1)
    steps = torch.arange(outputs.shape[1], device=outputs.device).view(1, -1, *[1] * (outputs.ndim - 2))
    is_reached = (wanted[:, None] <= steps).to(outputs.dtype)
    each = (reached - is_reached).square().sum(dim=1)
    return (each * counts).sum(), int(counts.sum())


LOSS = Loss(
    name="ordinal",
    summary="the squared earth mover's distance, for classes in an order",
    takes=frozenset({"class", "mask"}),
    total=total,
)
