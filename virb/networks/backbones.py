"""Networks by name: resnet50, vit_base_patch16, pixels, a family with its options, or any model of timm and torchvision.

What each name builds lies in ``virb.networks.families`` (one file a family) and ``virb.networks.external``, which are
imported when one of their networks is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from virb.errors import UsageError
from virb.networks import families
from virb.networks.base import Backbone
from virb.networks.families import Family
from virb.networks.families.members import RESNET_NAME, member
from virb.networks.families.resnet import RESNETS, ResNet
from virb.system.threads import own_generator

__all__ = [
    "Backbone",
    "ResNet",
    "blank_backbone",
    "build_backbone",
    "canonical_architecture",
    "is_module",
    "spell_architecture",
]

_SUGGESTED = (*RESNETS, "vit_tiny_patch16", "vit_small_patch16", "vit_base_patch16", "vit_large_patch16", "pixels")


def _family(arch: str) -> Family:
    """Return the family that ``arch`` is or belongs to.

    Raises:
        UsageError: there is none.
    """
    found = member(arch) or families.find(arch)
    if found is not None:
        return found
    base, colon, options = arch.partition(":")
    if colon and "=" in options and (member(base) or families.find(base)):
        given = " ".join(f"--arch-option {pair}" for pair in options.split(","))
        raise UsageError(f"{arch!r} is an architecture with options; for virb pretrain write --arch {base} {given}.")
    close = difflib.get_close_matches(arch, _SUGGESTED, 3, 0.5)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise UsageError(
        f"Unknown architecture {arch!r}.{hint} Known are {', '.join(_SUGGESTED)} (patches of 8, 14, 16 or 32), the "
        f"families {', '.join(families.names())} with all their sizes as options, and any model of two libraries as "
        "timm:NAME and torchvision:NAME."
    )


def canonical_architecture(arch: str, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Return the name and *all* options of an architecture, defaults filled in, so that equal networks compare equal.

    Options may be texts, as a command line gives them. ``torchvision:resnet50`` becomes our own ``resnet50``.

    Raises:
        UsageError: an unknown architecture or option, or a value that the option cannot take.
    """
    library, _, name = arch.partition(":")
    if library == "torchvision" and RESNET_NAME.fullmatch(name):
        arch = name
    if is_module(arch):  # it is described by its code, not by options
        return arch, dict(options or {})
    return arch, _family(arch).complete(arch, options or {})


def is_module(arch: str) -> bool:
    """Whether ``arch`` stands for a module that was wrapped (:func:`virb.wrap`), which no name builds."""
    return arch.startswith("module:")


def build_backbone(arch: str, **options: Any) -> Backbone:
    """Return the network called ``arch`` with fresh weights (drawn from torch's global generator).

    ========================================  ====================================================================
    resnet18, 34, 50, 101, 152,               ``width`` (1.0): multiplies the channels; ``stem``: imagenet or cifar
    resnext50_32x4d, wide_resnet50_2, ...
    vit_tiny, small, base, large _patch16     ``image_size`` (224) of the position embedding, ``depth``, ``heads``,
    (or 8, 14, 32)                            ``pool``: token (the class token, the default) or avg (of the patches)
    vit, and the other files of families/     all sizes as options: ``dim``, ``depth``, ``heads``, ``patch``, ...
    pixels                                    ``grid`` (8): the embedding is the image averaged to grid x grid
    timm:NAME, torchvision:NAME               no options
    ========================================  ====================================================================

    Raises:
        UsageError: an unknown name or option, or a value that the option cannot take.
    """
    return _build(arch, options, is_initialised=True)


def blank_backbone(arch: str, options: Mapping[str, Any] | None = None) -> Backbone:
    """Return a network whose weights are about to be loaded: they hold anything, and no random number was used up."""
    with own_generator():
        return _build(arch, options, is_initialised=False)


def _build(arch: str, options: Mapping[str, Any] | None, *, is_initialised: bool) -> Backbone:
    arch, full = canonical_architecture(arch, options)
    if is_module(arch):
        raise UsageError(
            f"{arch} is a module that was wrapped, and no name builds it. Give the code that makes it: FILE.py:FUNCTION."
        )
    backbone = _family(arch).build(full, is_initialised)
    backbone.label = spell_architecture(arch, full)
    return backbone


def spell_architecture(arch: str, options: Mapping[str, Any]) -> str:
    """Return an architecture as one writes it, options that are not at their default included: resnet18:width=0.25."""
    arch, full = canonical_architecture(arch, options)
    if is_module(arch):
        return arch
    default = _family(arch).defaults
    changed = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in full.items()
        if default[key] != value
    ]
    return f"{arch}:{','.join(changed)}" if changed else arch
