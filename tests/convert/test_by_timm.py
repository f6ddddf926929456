"""FILE:arch=timm:NAME with a release's own names goes through timm's converter, and nothing is lost or changed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from virb.convert.load import load_encoder
from virb.errors import CheckpointError

State = dict[str, Tensor]


def network(name: str) -> Any:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0).eval()
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) * 0.1 + (1 if value.ndim == 1 else -0.05))
    return net


def renamed(state: State, *pairs: tuple[str, str]) -> State:
    result = {}
    for key, value in state.items():
        for old, new in pairs:
            key = key.replace(old, new)
        result[key] = value
    return result


CONVNEXT = (
    ("stem.", "downsample_layers.0."),
    *((f"stages.{stage}.downsample.", f"downsample_layers.{stage}.") for stage in (1, 2, 3)),
    (".blocks.", "."),
    ("conv_dw", "dwconv"),
    ("mlp.fc1", "pwconv1"),
    ("mlp.fc2", "pwconv2"),
    ("head.norm", "norm"),
)
CLIP = (
    ("patch_embed.proj", "visual.conv1"),
    ("blocks.", "visual.transformer.resblocks."),
    ("norm_pre", "visual.ln_pre"),
    ("attn.qkv.", "attn.in_proj_"),
    ("attn.proj", "attn.out_proj"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("norm1", "ln_1"),
    ("norm2", "ln_2"),
)
OPENAI = {"input_resolution": torch.tensor(224), "context_length": torch.tensor(77), "vocab_size": torch.tensor(9)}


def convnext(net: Any) -> State:
    return {**renamed(net.state_dict(), *CONVNEXT), "head.weight": torch.ones(3, 320), "head.bias": torch.ones(3)}


def deit3(net: Any) -> State:
    return renamed(net.state_dict(), ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2"))


def clip(net: Any) -> State:
    state = renamed(net.state_dict(), *CLIP)
    state["visual.class_embedding"] = state.pop("cls_token").flatten()
    state["visual.positional_embedding"] = state.pop("pos_embed")[0]
    state |= {f"visual.ln_post.{part}": state.pop(f"norm.{part}") for part in ("weight", "bias")}
    state |= {
        "visual.proj": torch.ones(net.embed_dim, 5),
        "ln_final.weight": torch.ones(3),
        "logit_scale": torch.ones(()),
    }
    return {**state, "transformer.resblocks.0.ln_1.weight": torch.ones(3), "positional_embedding": torch.ones(4, 3)}


CASES: dict[str, tuple[str, Any]] = {
    "ConvNeXt": ("convnext_atto", convnext),
    "DeiT III": ("deit3_small_patch16_224", deit3),
    "OpenCLIP": ("vit_xsmall_patch16_clip_224", clip),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_releases_that_timm_converts(name, prefix, tmp_path: Path) -> None:
    arch, convert = CASES[name]
    if prefix and name != "ConvNeXt":
        return
    net = network(arch)
    torch.save({"model": {f"{prefix}{key}": value for key, value in convert(net).items()}}, tmp_path / "net.pth")
    encoder = load_encoder(f"{tmp_path / 'net.pth'}:arch=timm:{arch}")
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder.embed(images), expected, rtol=1e-3, atol=1e-3)
    assert "converted by timm" in str(encoder.report)


def refused(state: State, arch: str, path: Path, reason: str) -> None:
    torch.save(state, path / "net.pth")
    with pytest.raises(CheckpointError, match=reason):
        load_encoder(f"{path / 'net.pth'}:arch=timm:{arch}")


def test_what_the_converter_would_lose_or_change_is_refused(tmp_path: Path) -> None:
    state = convnext(network("convnext_atto"))
    refused(
        {**state, "stages.0.0.more.weight": torch.ones(3)}, "convnext_atto", tmp_path, "stages.0.blocks.0.more.weight"
    )
    state.pop("stages.3.0.pwconv1.weight")
    refused(state, "convnext_atto", tmp_path, "missing")
    state = deit3(network("deit3_small_patch16_224"))
    refused(
        {**state, "pos_embed": torch.ones(1, 576, 384)},
        "deit3_small_patch16_224",
        tmp_path,
        "another image size.*pos_embed",
    )
    state = clip(network("vit_xsmall_patch16_clip_224"))
    refused({**state, **OPENAI}, "vit_xsmall_patch16_clip_224", tmp_path, "quick GELU")
    refused({**state, "visual.more": torch.ones(3)}, "vit_xsmall_patch16_clip_224", tmp_path, "more")


@pytest.mark.parametrize(
    ("arch", "size", "mean"),
    [("timm:vit_tiny_patch16_224", 224, 0.5), ("timm:convnext_atto", 224, 0.485), ("timm:test_vit", 160, 0.5)],
)
def test_a_file_for_timm_s_model_has_its_preprocessing(arch, size, mean, tmp_path: Path) -> None:
    name = arch.removeprefix("timm:")
    torch.save(timm.create_model(name).state_dict(), tmp_path / "net.pth")
    encoder = load_encoder(f"{tmp_path / 'net.pth'}:arch={arch}")
    assert (encoder.preprocess.size, encoder.preprocess.mean[0]) == (size, mean)
    assert f"timm's configuration of {arch}" in str(encoder.report)
    assert load_encoder(f"{tmp_path / 'net.pth'}:arch={arch},size=96").preprocess.size == 96
