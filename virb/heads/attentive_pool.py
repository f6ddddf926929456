"""Attentive pooling: one learned query attends to the cells of the encoder's last map, and one layer reads what it gathers.

The least form of attentive probing (Chen et al. 2022, CAE): with one query and one head, a projection of the keys is part of
the query, and one of the values part of the linear layer, so that neither is there. Keys and values are the cells under a
LayerNorm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from virb.contracts.head import Facts, Head


class Attentive(nn.Module):
    """(B, T, D), or (B, F, T, D) for F frames that share the query, to (B, n_out)."""

    def __init__(self, dim: int, n_frames: int, n_out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Parameter(torch.randn(dim) * dim**-0.5)  # scores near 0: it starts as the mean
        self.head = nn.Linear(n_frames * dim, n_out)

    def forward(self, x: Tensor) -> Tensor:
        cells = self.norm(x)
        weights = (cells @ self.query).softmax(dim=-1)  # (B, T) or (B, F, T)
        gathered = (weights[..., None] * cells).sum(dim=-2)
        return self.head(gathered.flatten(1))


def build(facts: Facts, n_out: int) -> nn.Module:
    assert facts.dim is not None
    return Attentive(facts.dim, facts.n_frames, n_out)


HEAD = Head(
    name="attentive_pool",
    summary="one learned query that attends to the cells of the last map, and a linear layer",
    reads="tokens",
    build=build,
    max_frames=None,
)
