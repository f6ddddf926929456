"""BEiT and Data2Vec-vision (Bao et al. 2022, Baevski et al. 2022): relative position biases, by timm's Beit."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from timm.models.beit import Beit
from torch import nn

from virb.errors import UsageError
from virb.networks.families import Family
from virb.networks.tokens import Tokens, check_sizes

DEFAULTS = {
    "dim": 768,
    "depth": 12,
    "heads": 12,
    "patch": 16,
    "image_size": 224,  # the only size it takes: the biases are of this grid
    "hidden": 3072,
    "eps": 1e-12,
    "biases": "layers",  # a table of relative positions in every layer, one for all, or none
    "positions": "none",  # or a table that is added to all tokens
    "qkv_bias": 1,  # of query and value; the key has none
    "layer_scale": 1,
    "pool": "avg",
    "norm": "pooled",  # the last norm is on what was pooled, on the tokens, or absent
}
CHOICES = {
    "biases": ("layers", "shared", "none"),
    "positions": ("none", "all"),
    "qkv_bias": (0, 1),
    "layer_scale": (0, 1),
    "pool": ("avg", "token"),
    "norm": ("pooled", "tokens", "none"),
}


def build(options: Mapping[str, Any], is_initialised: bool) -> Tokens:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    check_sizes("beit", options)
    if options["image_size"] < options["patch"]:
        raise UsageError(f"beit: images of {options['image_size']} pixels hold no patch of {options['patch']}.")
    norm: Any = partial(nn.LayerNorm, eps=options["eps"])
    net = Beit(
        img_size=options["image_size"],
        patch_size=options["patch"],
        embed_dim=options["dim"],
        depth=options["depth"],
        num_heads=options["heads"],
        mlp_ratio=(options["hidden"] + 0.5) / options["dim"],
        qkv_bias=bool(options["qkv_bias"]),
        init_values=1e-5 if options["layer_scale"] else None,
        use_abs_pos_emb=options["positions"] == "all",
        use_rel_pos_bias=options["biases"] == "layers",
        use_shared_rel_pos_bias=options["biases"] == "shared",
        use_fc_norm=options["norm"] == "pooled",
        global_pool=options["pool"],
        num_classes=0,
        norm_layer=norm,
    )
    if options["norm"] == "none":
        net.norm = nn.Identity()
    return Tokens(net, options)


BACKBONE = Family("beit", DEFAULTS, build, CHOICES)
