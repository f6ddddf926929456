"""A large batch, or a large network, in little memory: what a gradient needs is computed a second time.

The encoder sees a batch in parts, the loss sees it whole.

Gao, Zhang, Han, Callan 2021 (GradCache): the parts' embeddings are computed without keeping what their gradient needs, the
loss and its gradient are those of the whole batch, and each part is computed a second time when its gradient is due.
The weights get the gradient of the whole batch's loss, whatever it compares; an update takes one more forward pass.
Batch normalisation within the encoder is that of a part; in the heads it is that of the batch.

Chen, Xu, Zhang, Guestrin 2016 (activation checkpointing): of each block only what enters it is kept, and the block is computed
a second time when its gradient is due. The gradient is the same to the bit; an update takes one more forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from virb.networks.base import Backbone
from virb.networks.families.resnet import BasicBlock, Bottleneck
from virb.networks.token_encoder import TokenEncoder

BLOCKS = (Block, BasicBlock, Bottleneck)


@contextlib.contextmanager
def in_parts(learner: nn.Module, n_parts: int) -> Iterator[None]:
    """Have every encoder in ``learner`` compute what it is given in ``n_parts`` parts, for the block."""
    encoders = [m for m in learner.modules() if isinstance(m, Backbone | TokenEncoder)] if n_parts > 1 else []
    for encoder in encoders:
        encoder.forward = _parted(encoder, n_parts)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.forward


def _parted(encoder: Backbone | TokenEncoder, n_parts: int):  # type: ignore[no-untyped-def]
    whole = encoder.forward

    def forward(x: Tensor, *masks: Tensor | None) -> Tensor:
        images = x.chunk(n_parts)
        others = [[None] * len(images) if mask is None else mask.chunk(n_parts) for mask in masks]
        parts = list(zip(images, *others, strict=True))
        if not torch.is_grad_enabled() or not any(p.requires_grad for p in encoder.parameters()):
            return torch.cat([whole(*part) for part in parts])
        return torch.cat([
            checkpoint(whole, *part, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), _again(encoder)))
            for part in parts
        ])  # fmt: skip

    return forward


@contextlib.contextmanager
def recomputed(learner: nn.Module, is_asked: bool) -> Iterator[None]:
    """Have the blocks of every encoder in ``learner`` computed a second time for their gradient, for the block."""
    blocks = [m for m in learner.modules() if isinstance(m, BLOCKS)] if is_asked else []
    for block in blocks:
        block.forward = _recomputed(block)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _recomputed(block: nn.Module):  # type: ignore[no-untyped-def]
    whole = block.forward

    def forward(x: Tensor, *others: Any) -> Tensor:
        if not torch.is_grad_enabled() or not any(p.requires_grad for p in block.parameters()):
            return whole(x, *others)
        return checkpoint(
            whole, x, *others, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), _again(block))
        )

    return forward


@contextlib.contextmanager
def _again(encoder: nn.Module) -> Iterator[None]:
    """A second pass over the same images: running batch statistics have seen them already."""
    layers = [module for module in encoder.modules() if isinstance(module, _BatchNorm) and module.training]
    before = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked = layer.num_batches_tracked.clone()
    try:
        yield
    finally:
        for layer, (momentum, count) in zip(layers, before, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count
