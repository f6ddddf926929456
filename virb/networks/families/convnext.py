"""ConvNeXts (Liu et al. 2022) and their second version (Woo et al. 2023) of any size, by timm's network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import LayerNorm2d  # type: ignore[attr-defined]
from timm.models.convnext import ConvNeXt

from virb.errors import UsageError
from virb.networks.families import Family, numbers
from virb.networks.stages import Stages

DEFAULTS = {
    "dims": "96/192/384/768",
    "depths": "3/3/9/3",
    "patch": 4,
    "image_size": 224,
    "version": 1,  # 2 has global response normalisation in place of the layer scale
    "layer_scale": 1,
    "eps": 1e-6,
    "last_eps": 1e-6,  # of the norm on the pooled vector
}
CHOICES = {"version": (1, 2), "layer_scale": (0, 1)}


def build(options: Mapping[str, Any], is_initialised: bool) -> Stages:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    dims = numbers(options["dims"], "convnext: dims")
    depths = numbers(options["depths"], "convnext: depths")
    if len(dims) != 4 or len(depths) != 4:
        raise UsageError(f"convnext: dims {dims} and depths {depths} must be of four stages.")
    net = ConvNeXt(
        num_classes=0,
        dims=dims,
        depths=depths,
        patch_size=options["patch"],
        use_grn=options["version"] == 2,
        ls_init_value=1e-6 if options["layer_scale"] else None,
        norm_eps=options["eps"],
    )
    if options["last_eps"] != options["eps"]:
        head: Any = net.head
        head.norm = LayerNorm2d(dims[-1], eps=options["last_eps"])
    strides = tuple(options["patch"] * 2**stage for stage in range(4))
    return Stages(net, options["image_size"], dims[-1], dims, strides)


BACKBONE = Family("convnext", DEFAULTS, build, CHOICES)
