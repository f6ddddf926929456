"""ResNets of any depth and width, under torchvision's names: what the nine named ones are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virb.errors import UsageError
from virb.networks.backbones import BasicBlock, Bottleneck, ResNet, ResNetSpec
from virb.networks.families import Family, numbers

DEFAULTS = {
    "block": "bottleneck",
    "depths": "3/4/6/3",
    "channels": 64,  # after the stem; every stage doubles them, and a bottleneck's output has four times as many
    "stem": "imagenet",
}


def build(options: Mapping[str, Any], is_initialised: bool) -> ResNet:
    """Return the network of all ``options``.

    Raises:
        UsageError: they contradict each other.
    """
    depths = numbers(options["depths"], "resnet: depths")
    if len(depths) != 4 or min(depths) < 1 or options["channels"] < 8 or options["channels"] % 8:
        raise UsageError(
            f"resnet: depths {options['depths']} and {options['channels']} channels; expected four stages of at least "
            "one block, and a multiple of 8."
        )
    block = BasicBlock if options["block"] == "basic" else Bottleneck
    spec = ResNetSpec(block, (depths[0], depths[1], depths[2], depths[3]))
    return ResNet(spec, width=options["channels"] / 64, stem=options["stem"], is_initialised=is_initialised)


BACKBONE = Family("resnet", DEFAULTS, build, {"block": ("basic", "bottleneck"), "stem": ("imagenet", "cifar")})
