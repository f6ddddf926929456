"""What an encoder is in a comparison, as its spec, its file, its method or its publisher's tags declare it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from virb import registry
from virb.contracts.roles import DECLARED, check_role
from virb.errors import RegistryError, UsageError
from virb.networks.base import Backbone


def take_declared(options: dict[str, Any], source: str) -> dict[str, str]:
    """Take role, family, repeat, method and dataset out of a spec's options; they change neither the network nor its name.

    Raises:
        UsageError: the role is none that there is.
    """
    declared = {word: str(options.pop(word)) for word in (*DECLARED, "method", "dataset") if word in options}
    if "role" in declared:
        declared["role"] = check_role(declared["role"], source)
    return declared


def with_role(meta: Mapping[str, Any], backbone: Backbone) -> dict[str, Any]:
    """The meta with a role: its own, else what its pretraining method declares of its encoders, else that a network
    without parameters is a baseline. Where nobody says anything it stays without."""
    if meta.get("role"):
        return dict(meta)
    role = "unknown"
    if meta.get("method"):
        with contextlib.suppress(RegistryError, UsageError):
            role = registry.load("methods", str(meta["method"])).role
    if role == "unknown" and not any(True for _ in backbone.parameters()):
        role = "baseline"
    return dict(meta) if role == "unknown" else {**meta, "role": role}


# What the parts of timm's tags stand for (its own documentation of pretrained weights); ft is what came last.
_LABELS = re.compile(r"in(1k|12k|21k|22k)")
_ALONE = ("dino", "mae", "fcmae", "ijepa", "lvd142m", "lvd1689m", "sat493m")
_TEXT = re.compile(r"openai|laion\w*|datacomp\w*|webli|dfn\w*|metaclip\w*|clip|yfcc15m|cc12m")
_UNCLEAR = ("mim", "ssl", "swsl", "ig1b", "swag", "distill", "dist", "apple")


def timm_role(tag: str) -> str:
    """Role of timm's weights by their tag: a1_in1k is supervised, dino self-supervised, openai learned from text.

    What a tag says after ft was done last, with labels. Weights whose tag says neither are unknown.

    >>> timm_role("a1_in1k"), timm_role("dino"), timm_role("openai"), timm_role("openai_ft_in1k"), timm_role("")
    ('supervised', 'self-supervised', 'language-supervised', 'supervised', 'unknown')
    """
    parts = tag.lower().split("_")
    last = parts[len(parts) - parts[::-1].index("ft") :] if "ft" in parts else []
    if any(_LABELS.fullmatch(part) for part in last):
        return "supervised"
    if any(part in _UNCLEAR for part in parts):
        return "unknown"
    if any(part in _ALONE for part in parts):
        return "self-supervised"
    if any(_TEXT.fullmatch(part) for part in parts):
        return "language-supervised"
    return "supervised" if any(_LABELS.fullmatch(part) for part in parts) else "unknown"
