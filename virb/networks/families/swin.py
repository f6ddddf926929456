"""Swin Transformers (Liu et al. 2021) of any size, by timm's network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.models.swin_transformer import SwinTransformer
from torch import nn

from virb.errors import UsageError
from virb.networks.families import Family, numbers
from virb.networks.stages import Stages

DEFAULTS = {
    "dim": 96,  # of the first stage; every stage doubles it
    "depths": "2/2/6/2",
    "heads": "3/6/12/24",
    "window": 7,
    "patch": 4,
    "image_size": 224,
    "hidden": 4.0,  # of the MLPs, in widths
    "eps": 1e-5,
    "qkv_bias": 1,
}


def build(options: Mapping[str, Any], is_initialised: bool) -> Stages:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    depths = numbers(options["depths"], "swin: depths")
    heads = numbers(options["heads"], "swin: heads")
    widths = [options["dim"] * 2**stage for stage in range(len(depths))]
    if len(depths) != len(heads) or any(not head or width % head for head, width in zip(heads, widths, strict=False)):
        raise UsageError(f"swin: heads {heads} do not fit stages of {depths} blocks and widths {widths}.")
    norm: Any = partial(nn.LayerNorm, eps=options["eps"])
    net = SwinTransformer(
        img_size=options["image_size"],
        patch_size=options["patch"],
        embed_dim=options["dim"],
        depths=depths,
        num_heads=heads,
        window_size=options["window"],
        mlp_ratio=options["hidden"],
        qkv_bias=bool(options["qkv_bias"]),
        num_classes=0,
        norm_layer=norm,
        strict_img_size=False,
        weight_init="" if is_initialised else "skip",
    )
    strides = tuple(options["patch"] * 2**stage for stage in range(len(depths)))
    return Stages(net, options["image_size"], widths[-1], tuple(widths), strides)


BACKBONE = Family("swin", DEFAULTS, build, {"qkv_bias": (0, 1)})
