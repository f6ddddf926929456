"""What is read off a transformer: which tokens (the class token, the patches' mean, both), of which of its blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from virb.errors import UsageError
from virb.networks.base import Backbone

POOLS = ("cls", "mean", "cls+mean", "attention")


class ReadOff(Backbone):
    """A transformer whose embedding is made of tokens of one block or of several, after the network's last norm.

    ``pool``: the class token (``cls``), the mean of the patches (``mean``), or both side by side (``cls+mean``, as
    DINOv2's linear probe reads them), or the network's own attention pooling (``attention``, where it was trained with one, as
    SigLIP was). ``layers``: ``last``, ``last4`` (the last four side by side, as DINO's probe of
    ViT-S does) or the number of a block, from 1. The pyramid stays the backbone's.

    Raises:
        UsageError: the backbone is no transformer, has no class token, or fewer blocks.
    """

    key_prefix = "backbone."

    def __init__(self, backbone: Backbone, *, pool: str | None = None, layers: str = "last") -> None:
        super().__init__()
        self.backbone = backbone
        net: Any = getattr(backbone, "net", backbone)
        blocks = getattr(net, "blocks", None)
        if blocks is None or not hasattr(net, "forward_intermediates") or not hasattr(net, "num_prefix_tokens"):
            raise UsageError(
                f"{backbone.label} is no transformer with tokens: it takes no pool=cls, mean or cls+mean and no layers=."
            )
        self.n_prefix = int(net.num_prefix_tokens)
        has_class = getattr(net, "cls_token", None) is not None
        self.pool = pool or ("cls" if has_class else "mean")
        if self.pool not in POOLS:
            raise UsageError(f"pool={pool}: expected {', '.join(POOLS)}.")
        if "cls" in self.pool and not has_class:
            raise UsageError(f"{backbone.label} has no class token; expected pool=mean.")
        self.taps = _taps(layers, len(blocks))
        if self.pool == "attention" and getattr(net, "attn_pool", None) is None:
            raise UsageError(
                f"{backbone.label} has no attention pooling of its own; expected pool=cls, mean or cls+mean. The probe "
                "attentive learns one."
            )
        if self.pool == "attention" and self.taps != (len(blocks) - 1,):
            raise UsageError(
                f"{backbone.label}: its attention pooling reads its last block; leave layers={layers} out."
            )
        self.dim = net.embed_dim * len(self.taps) * self.pool.count("+") + net.embed_dim * len(self.taps)
        self.channels, self.strides = backbone.channels, backbone.strides
        self.label = f"{backbone.label}, {self.pool} of {layers}"
        self.variant = f"{backbone.variant}{self.pool} of blocks {self.taps} of {len(blocks)}"

    def embed(self, x: Tensor) -> Tensor:
        net: Any = getattr(self.backbone, "net", self.backbone)
        if self.pool == "attention":
            pooled: Tensor = net.fc_norm(net.attn_pool(net.forward_features(x)))
            return pooled
        found = net.forward_intermediates(
            x, indices=list(self.taps), return_prefix_tokens=True, norm=True, output_fmt="NLC", intermediates_only=True
        )
        parts = []
        for tokens in found:  # a network without a class token gives no pairs
            patches, prefix = (tokens, tokens[:, :0]) if isinstance(tokens, Tensor) else tokens
            if "cls" in self.pool:
                parts.append(prefix[:, 0])
            if "mean" in self.pool:
                parts.append(patches.mean(1))
        return torch.cat(parts, dim=1)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.embed(x), self.backbone.pyramid(x)

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        return self.backbone.pyramid(x, output_stride)

    def strides_at(self, output_stride: int | None = None) -> tuple[int, ...]:
        return self.backbone.strides_at(output_stride)


def _taps(layers: str, n_blocks: int) -> tuple[int, ...]:
    """Return the indices of the blocks that ``layers`` names."""
    if layers == "last":
        return (n_blocks - 1,)
    if layers.startswith("last") and layers[4:].isdigit() and 1 <= int(layers[4:]) <= n_blocks:
        return tuple(range(n_blocks - int(layers[4:]), n_blocks))
    if layers.isdigit() and 1 <= int(layers) <= n_blocks:
        return (int(layers) - 1,)
    raise UsageError(f"layers={layers}: expected last, last4 (the last four) or a block's number from 1 to {n_blocks}.")
