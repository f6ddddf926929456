"""What losses of numbers share: those without a target (NaN) take no part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def of_errors(each: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int | None], tuple[Tensor, Tensor]]:
    """Return a loss's ``total`` for ``each(error)``, a function of every number's error that is 0 at 0."""

    def total(outputs: Tensor, targets: Tensor, ignore_index: int | None = None) -> tuple[Tensor, Tensor]:
        wanted = targets.float()
        is_valid = torch.isfinite(wanted)
        return each(outputs - torch.where(is_valid, wanted, outputs.detach())).sum(), is_valid.sum()

    return total
