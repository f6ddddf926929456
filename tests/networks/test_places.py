"""Where maps lie: what networks declare is what is measured, and what does not declare is measured to half a pixel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from virb.networks.backbones import Backbone, build_backbone
from virb.networks.places import measured_offsets

SMALL = {"width": 0.125}


@pytest.mark.parametrize(
    ("arch", "options", "output_stride"),
    [
        ("resnet18", SMALL, None),
        ("resnet18", SMALL, 8),
        ("resnet18", {**SMALL, "stem": "cifar"}, None),
        ("pixels", {}, 16),
        ("vit_tiny_patch16", {"depth": 1, "image_size": 112}, None),
        ("convnext", {"dims": "8/8/8/8", "depths": "1/1/1/1"}, None),
    ],
)
def test_what_a_network_declares_is_what_is_measured(arch, options, output_stride):
    torch.manual_seed(0)
    net = build_backbone(arch, **options)
    measured = measured_offsets(net, output_stride)
    assert net.offsets_at(output_stride) == pytest.approx(measured, abs=0.5)


class Chain(Backbone):
    """Layers one after the other, a map after each that has a stride."""

    def __init__(self, *layers: nn.Module, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.layers, self.strides, self.channels, self.dim = nn.ModuleList(layers), strides, (8,) * len(strides), 8
        self.example_size = 96

    def features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for layer in self.layers:
            x = layer(x)
            maps += [x]
        return x.mean((2, 3)), maps


@pytest.mark.parametrize(
    ("layers", "strides", "offsets"),
    [
        # Without padding a kernel of 5 begins at its own middle, pixel 2.
        ((nn.Conv2d(3, 8, 5, 2), nn.Conv2d(8, 8, 3, 2)), (2, 4), (2, 4)),
        ((nn.Conv2d(3, 8, 4, 4), nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))), (4, 8), (1.5, 3.5)),
        ((nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1)), (2, 4), (0, 0)),
    ],
)
def test_places_are_measured(layers, strides, offsets):
    torch.manual_seed(0)
    net = Chain(*layers, strides=strides)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert net.offsets_at() == pytest.approx(offsets)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
