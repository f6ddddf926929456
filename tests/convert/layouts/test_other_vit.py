"""torchvision's and OpenMMLab's Vision Transformers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT

from virb.convert.published import convert
from virb.errors import CheckpointError


def test_torchvision(drawn, agrees) -> None:
    net = drawn(TorchvisionViT(32, 8, 2, 1, 64, 96))
    state = dict(net.state_dict())
    net.heads = nn.Identity()
    found = agrees({"model": state}, net)
    assert found.dropped == {"heads": 2}
    with pytest.raises(CheckpointError):
        convert({key: value for key, value in state.items() if "layer_1.ln_2" not in key})


MM = (
    ("blocks.", "layers."),
    ("patch_embed.proj.", "patch_embed.projection."),
    ("norm1", "ln1"),
    ("norm2", "ln2"),
    ("mlp.fc1", "ffn.layers.0.0"),
    ("mlp.fc2", "ffn.layers.1"),
)


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_mmpretrain(prefix, drawn, agrees) -> None:
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    net = drawn(
        VisionTransformer(img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0, norm_layer=norm)
    )
    state = {}
    for key, value in net.state_dict().items():
        key = f"ln1.{key.removeprefix('norm.')}" if key.startswith("norm.") else key
        for old, new in MM:
            key = key.replace(old, new)
        state[f"{prefix}{key}"] = value
    agrees({"meta": {}, "state_dict": {**state, "head.layers.head.weight": torch.zeros(3, 64)}}, net)
    with pytest.raises(CheckpointError):
        convert({**state, f"{prefix}layers.0.gamma1.weight": torch.zeros(64)})
