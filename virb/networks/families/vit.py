"""Vision Transformers of every published kind: timm's network (Dosovitskiy et al. 2021), its options written out.

DINOv2's registers and layer scale, CLIP's first norm and quick GELU, SigLIP's attention pooling, I-JEPA without a class
token, MoCo v3's convolutional stem and DeiT III's positions are options, so that a checkpoint is loaded into exactly
the network that it was trained in.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import QuickGELU, SwiGLUPacked  # type: ignore[attr-defined]
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from virb.errors import UsageError
from virb.networks.families import Family
from virb.networks.tokens import Tokens, check_sizes

DEFAULTS = {
    "dim": 768,
    "depth": 12,
    "heads": 12,
    "patch": 16,
    "image_size": 224,  # of the position embedding
    "hidden": 3072,  # of the MLP; of SwiGLU: both halves together
    "mlp": "gelu",
    "eps": 1e-6,  # of every LayerNorm
    "cls": 1,  # whether there is a class token
    "registers": 0,  # tokens after the class token, DeiT's distillation token among them
    "positions": "all",  # what the position embedding covers: all tokens, the patches or nothing
    "resize": "timm",  # how it is resized to other image sizes
    "norm_pre": 0,  # CLIP's norm before the blocks (and no bias in the patch embedding)
    "qkv_bias": 1,
    "layer_scale": 0,
    "pool": "token",
    "norm": "tokens",  # the last norm is on the tokens, or on what was pooled (fc_norm)
    "project": 0,  # the length of the vector that a linear layer without bias makes of the embedding
    "stem": "patch",  # or MoCo v3's convolutions
}
CHOICES = {
    "mlp": ("gelu", "gelu_tanh", "quick_gelu", "swiglu"),
    "cls": (0, 1),
    "positions": ("all", "patches", "none"),
    "resize": ("timm", "exact", "dino"),
    "norm_pre": (0, 1),
    "qkv_bias": (0, 1),
    "layer_scale": (0, 1),
    "pool": ("token", "avg", "attention"),
    "norm": ("tokens", "pooled"),
    "stem": ("patch", "conv"),
}
_MLPS: Mapping[str, dict[str, Any]] = {
    "gelu": {"act_layer": nn.GELU},
    "gelu_tanh": {"act_layer": partial(nn.GELU, approximate="tanh")},
    "quick_gelu": {"act_layer": QuickGELU},
    "swiglu": {"act_layer": nn.SiLU, "mlp_layer": SwiGLUPacked},
}


class ConvStem(nn.Module):
    """MoCo v3's stem: four 3x3 convolutions of stride 2 with BatchNorm and a 1x1 one (Chen et al. 2021, Section 5.3)."""

    def __init__(self, img_size: int, patch_size: int, embed_dim: int, **_: Any) -> None:
        super().__init__()
        if patch_size != 16 or embed_dim % 8:
            raise UsageError(
                f"The convolutional stem makes patches of 16 and widths that 8 divides, not {patch_size} and {embed_dim}."
            )
        layers: list[nn.Module] = []
        before, after = 3, embed_dim // 8
        for _layer in range(4):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            before, after = after, after * 2
        self.proj = nn.Sequential(*layers, nn.Conv2d(before, embed_dim, 1))
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (img_size // patch_size,) * 2
        self.num_patches = self.grid_size[0] * self.grid_size[1]

    def dynamic_feat_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return -(-size[0] // 16), -(-size[1] // 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)  # (N, rows, columns, D), as timm's with output_fmt="NHWC"


class _Net(VisionTransformer):
    """timm's network with the position embeddings resized as the release's own code does it."""

    resize = "timm"

    def _pos_embed(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        table, grid = self.pos_embed, self.patch_embed.grid_size
        if table is None or self.resize == "timm" or (rows, columns) == tuple(grid):
            return super()._pos_embed(x)
        n_prefix = 0 if self.no_embed_class else self.num_prefix_tokens
        patches = table[:, n_prefix:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
        if self.resize == "dino":  # its code adds 0.1 to the sides against rounding, and that scale is kept
            scale = ((rows + 0.1) / grid[0], (columns + 0.1) / grid[1])
            patches = F.interpolate(patches, scale_factor=scale, mode="bicubic")
        else:
            patches = F.interpolate(patches, size=(rows, columns), mode="bicubic", align_corners=False)
        patches = patches.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)
        prefix = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.reg_token) if token is not None]
        x = x.flatten(1, 2)
        if self.no_embed_class:
            return torch.cat([*prefix, x + patches], dim=1)
        return torch.cat([*prefix, x], dim=1) + torch.cat([table[:, :n_prefix], patches], dim=1)


def build(options: Mapping[str, Any], is_initialised: bool) -> Tokens:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    dim = options["dim"]
    check_sizes("vit", options)
    if options["pool"] == "token" and not options["cls"]:
        raise UsageError("vit: pool=token needs the class token; with cls=0 say pool=avg or pool=attention.")
    parts: dict[str, Any] = {"embed_layer": ConvStem} if options["stem"] == "conv" else {}
    net = _Net(
        img_size=options["image_size"],
        patch_size=options["patch"],
        embed_dim=dim,
        depth=options["depth"],
        num_heads=options["heads"],
        mlp_ratio=(options["hidden"] + 0.5) / dim,
        qkv_bias=bool(options["qkv_bias"]),
        init_values=1e-5 if options["layer_scale"] else None,
        class_token=bool(options["cls"]),
        reg_tokens=options["registers"],
        pos_embed="none" if options["positions"] == "none" else "learn",
        no_embed_class=options["positions"] == "patches",
        pre_norm=bool(options["norm_pre"]),
        fc_norm=options["norm"] == "pooled",
        global_pool={"attention": "map"}.get(options["pool"], options["pool"]),
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=options["eps"]),
        dynamic_img_size=True,
        dynamic_img_pad=True,
        weight_init="" if is_initialised else "skip",
        **_MLPS[options["mlp"]],
        **parts,
    )
    net.resize = options["resize"]
    if options["project"]:
        net.head = nn.Linear(dim, options["project"], bias=False)
    return Tokens(net, options)


BACKBONE = Family("vit", DEFAULTS, build, CHOICES)
