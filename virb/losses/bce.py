"""The binary cross-entropy of labels of which several may hold."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from virb.contracts.loss import Loss


def total(outputs: Tensor, targets: Tensor, ignore_index: int | None = None) -> tuple[Tensor, int]:
    """Return the sum over the labels that count, and their number; -1 counts for nothing."""
    counts = targets >= 0
    each = F.binary_cross_entropy_with_logits(outputs, targets.clamp(min=0).to(outputs.dtype), reduction="none")
    return (each * counts).sum(), int(counts.sum())


LOSS = Loss(name="bce", summary="the binary cross-entropy of several labels", takes=frozenset({"labels"}), total=total)
