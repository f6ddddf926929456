"""Names of single networks, and the module that makes each a family of its own; no library is imported to know them."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping

from virb.networks.families import Family

RESNET_NAME = re.compile(r"resnet(18|34|50|101|152)|resnext50_32x4d|resnext101_32x8d|wide_resnet(50|101)_2")
VIT_NAME = re.compile(r"vit_(tiny|small|base|large)_patch(8|14|16|32)")
VIT_SIZES: Mapping[str, dict[str, int]] = {
    "tiny": {"embed_dim": 192, "depth": 12, "heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "heads": 16},
}
LIBRARY_NAME = re.compile(r"(timm|torchvision):.+")

#: Each module's ``member(name)`` returns the family; it is imported when a network of it is asked for.
MEMBERS = (
    (RESNET_NAME, "virb.networks.families.resnet"),
    (VIT_NAME, "virb.networks.families.named_vit"),
    (re.compile("pixels"), "virb.networks.families.pixels"),
    (LIBRARY_NAME, "virb.networks.external"),
)


@functools.cache
def member(name: str) -> Family | None:
    """Return the family that the network ``name`` is, None if it is no single network's name."""
    for pattern, module in MEMBERS:
        if pattern.fullmatch(name):
            found: Family = importlib.import_module(module).member(name)
            return found
    return None
