"""How encoders begin where a method's authors do not begin as torchvision does."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, PatchEmbed  # type: ignore[attr-defined]
from torch import Tensor, nn

from virb.contracts.method import Option
from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.families.resnet import BasicBlock, Bottleneck
from virb.networks.token_encoder import transformer

ZERO_INIT = Option("zero_init_residual", True, "a ResNet's blocks begin as identities, as in the authors' code")


def zero_init_residual(encoder: nn.Module) -> None:
    """Set the last scale of every residual block of a ResNet to 0 (Goyal et al. 2017); other networks have none."""
    for module in encoder.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
            assert isinstance(last.weight, nn.Parameter)
            nn.init.zeros_(last.weight)


def freeze_patches(encoder: nn.Module) -> None:
    """Keep a transformer's patch embedding as it begins (MoCo v3, Section 4.2)."""
    for name, parameter in encoder.named_parameters():
        if "patch_embed" in name:
            parameter.requires_grad_(False)


def sin_cos(grid: int, dim: int) -> Tensor:
    """Return the fixed positions of ``grid``² patches, (grid², dim): half of it for the column, half for the row.

    Chen et al. 2021 (MoCo v3), Appendix A, and MAE's util/pos_embed.py: sines and cosines of frequencies from 1 to 1 / 10000.

    Raises:
        UsageError: ``dim`` is no multiple of 4.
    """
    if dim % 4:
        raise UsageError(f"Sine-cosine positions need a width that 4 divides; found {dim}.")
    frequency = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * frequency
    one = torch.cat([angle.sin(), angle.cos()], dim=1)  # (grid, dim / 2)
    return torch.cat([one.repeat(grid, 1), one.repeat_interleave(grid, dim=0)], dim=1).float()


@torch.no_grad()
def fix_positions(encoder: Backbone) -> None:
    """Set a transformer's positions to ``sin_cos``, those of class and register tokens to 0, and keep them so.

    Raises:
        UsageError: the network is no transformer, or has no position table.
    """
    net = transformer(encoder)
    table = net.pos_embed
    if table is None:
        raise UsageError(f"{encoder.label} has no positions to fix; choose --arch-option positions=all.")
    grid = net.patch_embed.grid_size[0]
    table.zero_()
    table[0, table.shape[1] - grid**2 :] = sin_cos(grid, table.shape[2])
    table.requires_grad_(False)


def xavier(module: nn.Module, *, splits_qkv: bool = False) -> None:
    """Draw linear layers and patch embeddings from Xavier's uniform distribution, biases 0 (MAE's models_mae.py).

    With ``splits_qkv`` queries, keys and values count as layers of their own (MoCo v3's vits.py).
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            for weight in part.weight.chunk(3) if splits_qkv and name.endswith("qkv") else [part.weight]:
                nn.init.xavier_uniform_(weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed) and isinstance(part.proj, nn.Conv2d):
            nn.init.xavier_uniform_(part.proj.weight.view(len(part.proj.weight), -1))


def truncated_normal(module: nn.Module) -> None:
    """Draw linear layers from a normal distribution of deviation .02, cut at 2, biases 0 (DINO's and I-JEPA's code)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


@torch.no_grad()
def shrink_with_depth(blocks: nn.Sequential) -> None:
    """Divide what the k-th block adds by sqrt(2 k) at the start (BEiT's code, and I-JEPA's)."""
    block: Any
    for k, block in enumerate(blocks, 1):
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.div_((2 * k) ** 0.5)


def drop_path(encoder: Backbone, rate: float, *, is_uniform: bool = False) -> None:
    """Skip blocks at random in training (Huang et al. 2016): the last with probability ``rate``, those before with less.

    With ``is_uniform`` all with the same. No parameter changes, and nothing is skipped in evaluation mode.
    """
    blocks = transformer(encoder).blocks
    for k, block in enumerate(blocks):
        own = rate if is_uniform else rate * k / max(1, len(blocks) - 1)
        block.drop_path1, block.drop_path2 = (DropPath(own) if own else nn.Identity() for _ in range(2))
