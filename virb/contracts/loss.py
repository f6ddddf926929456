"""What a loss is: the targets it takes, and its sum over a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from virb.contracts.parts import checked_targets

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A loss: ``total(outputs, targets, ignore_index)`` returns its sum over all targets that count, and their number: a
    whole number, or a tensor of one, which no one has to wait for.

    Outputs are (B, K) and targets (B,) for a class, (B, K) for labels (1 there, 0 not, -1 does not count) and for numbers
    (NaN does not count); of pixels they are (B, K, H, W) and (B, H, W) for a mask, whose ``ignore_index`` (None: none)
    does not count, and (B, K, H, W) for a map, where NaN does not count. What is trained on is the sum over the number.

    ``derivative(outputs, targets, count)`` may give the derivative of H heads' mean losses by their outputs (H, K, B) at
    once, over the first ``count`` of the examples, targets being (H, B) or (H, B, K); it may overwrite the outputs.
    """

    name: str
    summary: str
    takes: frozenset[str]
    total: Callable[[Tensor, Tensor, int | None], tuple[Tensor, int | Tensor]]
    derivative: Callable[[Tensor, Tensor, int], Tensor] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes", checked_targets(self.takes, f"Loss {self.name!r}"))
