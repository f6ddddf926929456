"""What a transformer's own attention pooling gives, and who has none."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.read_off import ReadOff


class Small(Backbone):
    label = "a small transformer"

    def __init__(self, pool: str) -> None:
        super().__init__()
        has_class = pool == "token"
        self.net = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, global_pool=pool, class_token=has_class,
            num_classes=0,
        )  # fmt: skip
        self.dim, self.channels, self.strides = 16, (16,), (8,)

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.net(x), []

    def pyramid(self, x: Tensor, output_stride: int | None = None) -> list[Tensor]:
        return []


def test_attention_is_the_networks_own_pooling() -> None:
    torch.manual_seed(0)
    net = Small("map").eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ReadOff(net, pool="attention").embed(x), net.net(x), atol=1e-6)
    mean = net.net.forward_features(x).mean(1)
    assert torch.allclose(ReadOff(net, pool="mean").embed(x), mean, atol=1e-6)
    assert not torch.allclose(mean, net.net(x), atol=1e-3)


def test_where_there_is_none_it_says_what_there_is() -> None:
    with pytest.raises(UsageError, match="no attention pooling of its own; expected pool=cls, mean"):
        ReadOff(Small("token"), pool="attention")
    with pytest.raises(UsageError, match="reads its last block"):
        ReadOff(Small("map"), pool="attention", layers="2")
