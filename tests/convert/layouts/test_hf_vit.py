"""Hugging Face's Vision Transformers: what save_pretrained writes gives transformers' own embeddings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from virb.convert.published import convert
from virb.errors import CheckpointError

transformers: Any = pytest.importorskip("transformers")

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 72,
    "image_size": 32,
    "patch_size": 8,
}
DINO = {key: value for key, value in SIZES.items() if key != "intermediate_size"}


def token(output: Any) -> torch.Tensor:
    return output.last_hidden_state[:, 0]


def mean(output: Any) -> torch.Tensor:
    return output.last_hidden_state.mean(1)


# name -> (network's class, configuration's class, options, embedding)
PLAIN: dict[str, tuple[str, dict[str, Any], Any]] = {
    "ViT": ("ViT", SIZES, token),
    "ViT with quick GELU and eps 1e-5": ("ViT", {**SIZES, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}, token),
    "ViT without bias": ("ViT", {**SIZES, "qkv_bias": False}, token),
    "DeiT": ("DeiT", SIZES, token),
    "ViTMSN": ("ViTMSN", SIZES, token),
    "IJepa": ("IJepa", SIZES, mean),
    "Dinov2": ("Dinov2", DINO, token),
    "Dinov2 giant": ("Dinov2", {**DINO, "use_swiglu_ffn": True}, token),
    "Dinov2WithRegisters": ("Dinov2WithRegisters", {**DINO, "num_register_tokens": 3}, token),
    "Dinov2WithRegisters giant": ("Dinov2WithRegisters", {**DINO, "use_swiglu_ffn": True}, token),
}
EPS = {"ViT": 1e-12, "DeiT": 1e-12, "ViTMSN": 1e-6, "IJepa": 1e-12, "Dinov2": 1e-6, "Dinov2WithRegisters": 1e-6}


def build(kind: str, options: dict[str, Any], suffix: str = "Model") -> Any:
    config = getattr(transformers, f"{kind}Config")(**options)
    return getattr(transformers, f"{kind}{suffix}")(config)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("size", [32, 48])
def test_a_folder_gives_the_reference_s_embeddings(name, size, drawn, saved, agrees) -> None:
    kind, options, pooled = PLAIN[name]
    net = drawn(build(kind, options))
    state, config = saved(net)
    resized = {"interpolate_pos_encoding": True} if size != 32 and not kind.startswith("Dinov2") else {}
    found = agrees(state, lambda x: pooled(net(x, **resized)), size=size, config=config)
    assert found.options["eps"] == options.get("layer_norm_eps", EPS[kind])


@pytest.mark.parametrize("name", [name for name in PLAIN if "quick" not in name and name != "ViTMSN"])
def test_a_bare_file_is_told_by_its_tensors(name, drawn, saved, agrees) -> None:
    kind, options, pooled = PLAIN[name]
    net = drawn(build(kind, options))
    state, _ = saved(net)
    agrees(state, lambda x: pooled(net(x)), heads=2)
    with pytest.raises(CheckpointError, match="how many heads a width of 48 has"):
        convert(state)


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "ViTMSN", "IJepa", "Dinov2", "Dinov2WithRegisters"])
def test_a_classifier_is_left_aside(kind, drawn, saved, agrees) -> None:
    net = drawn(build(kind, DINO if kind.startswith("Dinov2") else SIZES, "ForImageClassification"))
    state, config = saved(net)
    trunk = getattr(net, net.base_model_prefix)
    pooled = mean if kind == "IJepa" else token
    found = agrees(state, lambda x: pooled(trunk(x)), config=config)
    assert any("classifier" in part for part in found.dropped)


@pytest.mark.parametrize("suffix", ["Model", "ForPreTraining"])
@pytest.mark.parametrize("has_config", [True, False])
def test_mae_sees_the_whole_image(suffix, has_config, drawn, saved, agrees) -> None:
    options = {**SIZES, "decoder_hidden_size": 32, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
    net = drawn(build("ViTMAE", {**options, "decoder_intermediate_size": 32, "mask_ratio": 0.0}, suffix))
    state, config = saved(net)
    trunk = net if suffix == "Model" else net.vit

    def reference(x: torch.Tensor) -> torch.Tensor:
        return token(trunk(x, noise=torch.arange(16.0).expand(len(x), -1)))  # no mask, and the patches in their order

    agrees(state, reference, config=config if has_config else None, **({} if has_config else {"heads": 2}))


def test_published_widths_need_no_word_about_heads(drawn, saved, agrees) -> None:
    net = drawn(build("ViT", {**SIZES, "hidden_size": 192, "num_attention_heads": 3}))
    state, _ = saved(net)
    assert agrees(state, lambda x: token(net(x))).options["heads"] == 3


NEAR_MISSES: dict[str, tuple[Any, str]] = {
    "a tensor of another network": (lambda state: {**state, "embeddings.extra": torch.zeros(3)}, "no place"),
    "a block is missing": (lambda s: {k: v for k, v in s.items() if "layer.0." not in k}, "without a gap"),
    "a bias is missing": (
        lambda s: {k: v for k, v in s.items() if not k.endswith("0.output.dense.bias")},
        "missing",
    ),
    "key biases are missing": (lambda s: {k: v for k, v in s.items() if "key.bias" not in k}, "key.bias is missing"),
    "another width": (
        lambda s: {**s, "encoder.layer.1.output.dense.weight": torch.zeros(48, 71)},
        "of another shape",
    ),
    "positions that are no square": (
        lambda s: {**s, "embeddings.position_embeddings": torch.zeros(1, 18, 48)},
        "no square",
    ),
    "integers": (
        lambda s: {**s, "layernorm.weight": torch.ones(48, dtype=torch.int8)},
        "torch.int8",
    ),
    "NaN": (lambda s: {**s, "layernorm.weight": torch.full((48,), torch.nan)}, "NaN"),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_is_not_exactly_the_network_is_refused(name, drawn, saved) -> None:
    state, config = saved(drawn(build("ViT", SIZES)))
    change, reason = NEAR_MISSES[name]
    with pytest.raises(CheckpointError, match=reason):
        convert(change(state), config=config)


def test_a_config_of_another_network_is_refused(drawn, saved) -> None:
    state, config = saved(drawn(build("ViT", SIZES)))
    with pytest.raises(CheckpointError, match="model_type='dinov2'"):
        convert(state, config={**config, "model_type": "dinov2"})
