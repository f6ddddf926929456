"""What a network is, by content: a digest of its architecture, its tensors and whatever else decides what it computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from virb.networks.backbones import canonical_architecture


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
    for key in sorted(state_dict):
        if key.endswith("num_batches_tracked"):
            continue
        tensor = state_dict[key].detach().cpu()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        digest.update(f"\n{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        array = tensor.numpy()
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()
