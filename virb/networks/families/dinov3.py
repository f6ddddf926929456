"""DINOv3's Vision Transformers (Siméoni et al. 2025): registers, rotary positions and no position table, by timm's Eva."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.models.eva import Eva
from torch import nn

from virb.networks.families import Family
from virb.networks.tokens import Tokens, check_sizes

DEFAULTS = {
    "dim": 768,
    "depth": 12,
    "heads": 12,
    "patch": 16,
    "image_size": 224,  # of the images it is shown; any other size works as well
    "hidden": 3072,  # of the MLP, of each half if it is gated
    "mlp": "gelu",
    "eps": 1e-5,
    "registers": 4,
    "qkv_bias": 1,  # of query and value; the key has none
    "base": 100.0,  # of the rotary frequencies
    "pool": "token",
}
CHOICES = {"mlp": ("gelu", "swiglu"), "qkv_bias": (0, 1), "pool": ("token", "avg")}


def build(options: Mapping[str, Any], is_initialised: bool) -> Tokens:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    check_sizes("dinov3", options)
    is_gated = options["mlp"] == "swiglu"
    net = Eva(
        img_size=options["image_size"],
        patch_size=options["patch"],
        embed_dim=options["dim"],
        depth=options["depth"],
        num_heads=options["heads"],
        mlp_ratio=(options["hidden"] + 0.5) / options["dim"],
        swiglu_mlp=is_gated,
        swiglu_align_to=int(is_gated),  # two layers, not one for both halves
        qkv_bias=bool(options["qkv_bias"]),
        init_values=1e-5,
        rope_type="dinov3",
        rope_temperature=options["base"],
        rope_rotate_half=True,
        use_rot_pos_emb=True,
        use_abs_pos_emb=False,
        num_reg_tokens=options["registers"],
        use_fc_norm=False,
        global_pool=options["pool"],
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=options["eps"]),
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )
    # The release keeps its frequencies in the file, rounded to bfloat16; they are tensors of the network here too.
    rope: Any = net.rope
    rope.register_buffer("periods", rope.periods, persistent=True)
    return Tokens(net, options)


BACKBONE = Family("dinov3", DEFAULTS, build, CHOICES)
