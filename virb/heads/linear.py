"""The single layer classifier (Kotar et al. 2021, Section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.contracts.loss import Loss
from virb.training.stacks import FlatStack, pad


class LinearHead(nn.Linear):
    """One fully connected layer on the pooled embedding: (N, D) -> (N, K)."""


class LinearStack(FlatStack):
    """Heads (B, D) -> (B, K)."""

    def __init__(self, heads: Sequence[LinearHead], loss: Loss, device: torch.device | str = "cpu") -> None:
        super().__init__([{"weight": pad(head.weight, 1), "bias": head.bias} for head in heads], loss, device)

    def set_gradients(self, x: Tensor, targets: Tensor, count: int) -> None:
        x, w, g = x[:, 0], self.weights, self.gradients
        # Weights before features: for few classes (K, D) x (D, B) and (K, B) x (B, D) are several times faster.
        logits = torch.baddbmm(w["bias"][:, :, None], w["weight"], x.transpose(1, 2))
        error = self.error(logits, targets, count)
        torch.bmm(error, x, out=g["weight"])
        torch.sum(error, 2, out=g["bias"])

    @torch.no_grad()
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        for k, head in enumerate(heads):
            assert isinstance(head, LinearHead)
            head.weight.copy_(self.weights["weight"][k, :, : head.in_features])
            head.bias.copy_(self.weights["bias"][k])


def build(facts: Facts, n_out: int) -> LinearHead:
    """Return the layer for an embedding of ``facts.dim``."""
    assert facts.dim is not None
    return LinearHead(facts.dim, n_out)


HEAD = Head(
    name="linear",
    summary="one fully connected layer on the embedding",
    reads="embedding",
    build=build,
    stack=LinearStack,
)
