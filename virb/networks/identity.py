"""What a network is, by content: a digest of its architecture, its tensors and whatever else decides what it computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from virb.networks import code
from virb.networks.backbones import blank_backbone, canonical_architecture, is_module
from virb.networks.base import Backbone

if TYPE_CHECKING:
    from virb.networks.preprocess import Preprocess


def state_sha256(
    arch: str, arch_options: Mapping[str, Any], state_dict: Mapping[str, Tensor], *, variant: str = ""
) -> str:
    """Return the identity of a network by content: architecture, names, shapes and values.

    ``variant`` is what neither architecture nor tensors tell, such as the layers of a projection on top.

    The container, the order of the tensors and options left at their defaults do not matter, nor do BatchNorm's
    batch counters, which old files lack and inference never reads. Values count as float32.
    """
    arch, options = canonical_architecture(arch, arch_options)
    digest = hashlib.sha256(json.dumps([arch, options], sort_keys=True).encode())
    digest.update(variant.encode())
    _add_tensors(digest, state_dict)
    return digest.hexdigest()


def _add_tensors(digest: hashlib._Hash, state_dict: Mapping[str, Tensor]) -> None:
    for key in sorted(state_dict):
        if key.endswith("num_batches_tracked"):
            continue
        tensor = state_dict[key].detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        array = tensor.numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())


def identity_parts(
    backbone: Backbone,
    *,
    arch: str,
    arch_options: Mapping[str, Any],
    preprocess: Preprocess,
    is_from_the_door: bool,
) -> dict[str, Any]:
    """Return what decides an encoder's numbers, part by part, in words of JSON; the type it computes in is not among them.

    ``architecture`` with all options, ``tensors`` (a digest of names, shapes and values), ``code`` (a digest where a part
    of the network comes from outside virb and its libraries, or is not put together as the architecture says; else
    empty), ``preprocess`` and ``features`` (what is read off: layer, pooling, projection).
    """
    tensors = hashlib.sha256()
    _add_tensors(tensors, backbone.state_dict())
    return {
        "architecture": {"name": arch, "options": dict(arch_options)},
        "tensors": tensors.hexdigest(),
        "code": _code(backbone, arch, arch_options, is_from_the_door),
        "preprocess": preprocess.as_dict(),
        "features": backbone.variant or "embedding",
    }


def _code(backbone: Backbone, arch: str, arch_options: Mapping[str, Any], is_from_the_door: bool) -> str:
    if is_module(arch) or not code.is_own(backbone):
        return code.fingerprint(backbone)
    if is_from_the_door or backbone.variant:
        return ""
    # Handed over as an object, that says what it is: it is believed if it is put together as that is.
    found = code.fingerprint(backbone)
    return "" if found == code.fingerprint(blank_backbone(arch, arch_options).eval().requires_grad_(False)) else found


def digest_of(parts: Mapping[str, Any]) -> str:
    """Return one digest over the parts of an identity."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
