"""A file that fits no layout and is exactly one of timm's models is loaded as that; where several fit, all are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from virb.convert import timm_index
from virb.convert.load import load_encoder
from virb.errors import CheckpointError


def saved(name: str, path: Path, prefix: str = "", **extra: Any) -> Any:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3).eval()
    torch.save({"state_dict": {**{f"{prefix}{key}": value for key, value in net.state_dict().items()}, **extra}}, path)
    return net


@pytest.mark.parametrize("prefix", ["", "module.", "visual.trunk."])
def test_the_only_model_that_fits_is_taken_and_said(prefix, tmp_path: Path) -> None:
    net = saved("convnext_atto", tmp_path / "net.pth", prefix)
    encoder = load_encoder(tmp_path / "net.pth")
    assert encoder.arch == "timm:convnext_atto"
    assert "exactly timm's convnext_atto" in str(encoder.report)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder.embed(images), expected, rtol=1e-3, atol=1e-4)


def test_several_that_fit_are_named(tmp_path: Path) -> None:
    names = timm_index.fitting(dict(timm.create_model("vit_base_patch32_clip_224", num_classes=0).state_dict()))[""]
    assert {"vit_base_patch32_clip_224", "vit_base_patch32_clip_quickgelu_224"} <= set(names)
    saved("resnetaa50", tmp_path / "net.pth")
    assert load_encoder(tmp_path / "net.pth").arch == "resnet50"  # the usual network, and it says what it assumed
    saved("efficientnet_lite0", tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"arch=timm:efficientnet_lite0 or arch=timm:tf_efficientnet_lite0"):
        load_encoder(tmp_path / "net.pth")


def test_a_model_with_a_tensor_too_many_fits_none(tmp_path: Path) -> None:
    saved("convnext_atto", tmp_path / "net.pth", **{"stages.0.more.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="cannot be told"):
        load_encoder(tmp_path / "net.pth")


def test_the_index_is_of_this_kind_of_timm() -> None:
    """Every model that both this timm and the index's know has the tensors that the index says, of a few drawn at random."""
    names = [name for group in timm_index._known().values() for name in group]
    assert len(names) > 900
    for name in names[:: len(names) // 5]:
        with torch.device("meta"):
            shapes = {key: value.shape for key, value in timm.create_model(name, num_classes=0).state_dict().items()}
        assert name in timm_index.names_for(shapes)
