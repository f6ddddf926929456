"""The cross-entropy of one class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from virb.contracts.loss import Loss


def total(outputs: Tensor, targets: Tensor, ignore_index: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the sum over the targets that count, and their number."""
    nothing = -100 if ignore_index is None else ignore_index
    wanted = targets.long()
    return F.cross_entropy(outputs, wanted, ignore_index=nothing, reduction="sum"), (wanted != nothing).sum()


def derivative(outputs: Tensor, targets: Tensor, count: int) -> Tensor:
    """Return the derivative of each head's mean over the first ``count`` examples by its outputs (H, K, B)."""
    error = outputs.softmax(dim=1)
    error.scatter_add_(1, targets[:, None], error.new_full((1, 1, 1), -1.0).expand(len(targets), 1, targets.shape[1]))
    if count < targets.shape[1]:
        error[:, :, count:] = 0
    return error.mul_(1 / count)


LOSS = Loss(
    name="cross_entropy",
    summary="the cross-entropy of one class",
    takes=frozenset({"class", "mask"}),
    total=total,
    derivative=derivative,
)
