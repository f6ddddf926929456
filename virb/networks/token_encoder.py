"""A Vision Transformer read token by token, shown part of an image: patches hidden behind a token, or left out."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.external import External
from virb.networks.families.named_vit import ViT


class TokenEncoder(nn.Module):
    """``backbone``, whose forward pass gives the tokens after the last norm, (N, P + L, D).

    The first P are the class and register tokens, the L = ``grid``² others the patches, row by row. What belongs to the
    masking alone, the token that hides a patch, lies here and not in the backbone, which stays a plain one.

    Args:
        backbone: a Vision Transformer of timm's.
        image_size: side of the images in pixels.
        hides: whether patches will be hidden: then there is a ``mask_token``.

    Raises:
        UsageError: the backbone is no such network, or its patches do not tile the images.
    """

    def __init__(self, backbone: Backbone, image_size: int, *, hides: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        net = self.net
        self.patch = int(net.patch_embed.patch_size[0])
        if image_size % self.patch:
            raise UsageError(f"Images of {image_size} px cannot be cut into patches of {self.patch} px.")
        self.grid = image_size // self.patch
        self.n_patches = self.grid**2
        self.n_prefix = int(net.num_prefix_tokens)
        self.dim = backbone.dim
        self.width = int(net.embed_dim)
        self.mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, self.width), std=0.02)) if hides else None

    @property
    def net(self) -> Any:
        """timm's network within the backbone."""
        return transformer(self.backbone)

    @property
    def trains_all(self) -> bool:
        """Whether every parameter is used on the way to the tokens: there is none in a pooling or a projection after."""
        after = [getattr(self.net, name, None) for name in ("fc_norm", "attn_pool", "head")]
        return not any(True for part in after if part is not None for _ in part.parameters())

    def forward(self, x: Tensor, hidden: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Return the tokens of images ``x`` (N, 3, h, w).

        Args:
            hidden: bool (N, L): these patches are replaced by the mask token.
            keep: positions (N, K): these patches alone are shown, and L is K in what comes back.
        """
        net = self.net
        patches = net.patch_embed(x)  # (N, rows, columns, D) where images of any size are taken, else (N, L, D)
        if hidden is not None:
            assert self.mask_token is not None
            token = self.mask_token.to(patches.dtype).view((1,) * (patches.ndim - 1) + (-1,))
            patches = torch.where(hidden.view(*patches.shape[:-1], 1), token, patches)
        tokens = net._pos_embed(patches)
        if keep is not None:
            prefix, rest = tokens[:, : self.n_prefix], tokens[:, self.n_prefix :]
            tokens = torch.cat([prefix, take(rest, keep)], dim=1)
        return net.norm(net.blocks(net.norm_pre(tokens)))

    def embedding(self, tokens: Tensor) -> Tensor:
        """Return what the backbone makes of its tokens in the end: one vector an image, (N, D)."""
        if isinstance(self.backbone, ViT):
            return self.backbone.pooled(tokens)
        return self.net.forward_head(tokens, pre_logits=False)

    def patches(self, tokens: Tensor) -> Tensor:
        """Return the patches among the tokens."""
        return tokens[:, self.n_prefix :]


def transformer(backbone: Backbone) -> Any:
    """Return timm's Vision Transformer within ``backbone``.

    Raises:
        UsageError: it is another network.
    """
    found = backbone.net if isinstance(backbone, External) else backbone
    if not isinstance(found, VisionTransformer):
        raise UsageError(
            f"This needs a Vision Transformer, and {backbone.label} is none. Pass --arch vit_small_patch16 (or another size "
            "and patch), or --arch vit with its options."
        )
    return found


def take(tokens: Tensor, positions: Tensor) -> Tensor:
    """Return the rows ``positions`` (N, K) of ``tokens`` (N, L, D): (N, K, D)."""
    return tokens.gather(1, positions[..., None].expand(-1, -1, tokens.shape[2]))
