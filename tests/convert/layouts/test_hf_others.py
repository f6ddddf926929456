"""Hugging Face's DINOv3, CLIP, SigLIP, BEiT, ResNet, ConvNeXt and Swin: its files give its own embeddings."""

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
BEIT = {**SIZES, "use_relative_position_bias": True, "use_mask_token": False}
RESNET = {"embedding_size": 16, "depths": [1, 2, 1, 1]}
CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
SWIN = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4, "image_size": 64}


def pooled(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).pooler_output.flatten(1)


def token(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).last_hidden_state[:, 0]


def mean(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).last_hidden_state[:, 1:].mean(1)


# name -> (class, options of its configuration, embedding, side of the images, what a bare file is loaded with)
NETS: dict[str, tuple[str, dict[str, Any], Any, int, dict[str, Any]]] = {
    "DINOv3": ("DINOv3ViT", SIZES, pooled, 48, {"heads": 2}),
    "DINOv3 gated": ("DINOv3ViT", {**SIZES, "use_gated_mlp": True, "hidden_act": "silu"}, pooled, 48, {"heads": 2}),
    "DINOv3 odd gated": (
        "DINOv3ViT",
        {**SIZES, "use_gated_mlp": True, "hidden_act": "silu", "intermediate_size": 73, "num_register_tokens": 2},
        pooled,
        32,
        {"heads": 2},
    ),
    "DINOv3 without bias": ("DINOv3ViT", {**SIZES, "query_bias": False, "value_bias": False}, pooled, 32, {"heads": 2}),
    "CLIP": ("CLIPVision", SIZES, pooled, 32, {"heads": 2}),
    "CLIP with gelu": ("CLIPVision", {**SIZES, "hidden_act": "gelu"}, pooled, 32, {"heads": 2, "mlp": "gelu"}),
    "SigLIP": ("SiglipVision", SIZES, pooled, 32, {"heads": 2}),
    "BEiT": ("Beit", BEIT, pooled, 32, {}),
    "BEiT shared": (
        "Beit",
        {**BEIT, "use_relative_position_bias": False, "use_shared_relative_position_bias": True},
        pooled,
        32,
        {},
    ),
    "BEiT with positions and token": (
        "Beit",
        {**BEIT, "use_absolute_position_embeddings": True, "use_mean_pooling": False},
        token,
        32,
        {},
    ),
    "BEiT without layer scale": ("Beit", {**BEIT, "layer_scale_init_value": 0.0}, pooled, 32, {}),
    "Data2Vec": ("Data2VecVision", BEIT, mean, 32, {}),
    "ResNet": ("ResNet", {**RESNET, "hidden_sizes": [64, 128, 256, 512]}, pooled, 64, {}),
    "ResNet basic": (
        "ResNet",
        {**RESNET, "layer_type": "basic", "hidden_sizes": [16, 32, 64, 128], "depths": [2, 2, 2, 2]},
        pooled,
        64,
        {},
    ),
    "ConvNeXt": ("ConvNext", CONVNEXT, pooled, 64, {}),
    "ConvNeXt without scale": ("ConvNext", {**CONVNEXT, "layer_scale_init_value": 0.0}, pooled, 64, {}),
    "ConvNeXt V2": ("ConvNextV2", CONVNEXT, pooled, 64, {}),
    "DINOv3 ConvNeXt": ("DINOv3ConvNext", CONVNEXT, pooled, 64, {}),
    "Swin": ("Swin", SWIN, pooled, 64, {"image_size": 64}),
    "Swin without bias": ("Swin", {**SWIN, "qkv_bias": False, "mlp_ratio": 2.0}, pooled, 64, {"image_size": 64}),
}


def build(name: str, suffix: str = "Model") -> Any:
    kind, options, *_ = NETS[name]
    config = getattr(transformers, f"{kind}Config")(**options)
    return getattr(transformers, f"{kind}{suffix}")(config)


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_the_reference_s_embeddings(name, has_config, drawn, saved, agrees) -> None:
    _, _, embed, size, asked = NETS[name]
    net = drawn(build(name))
    state, config = saved(net)
    found = agrees(
        state,
        lambda x: embed(net, x),
        size=size,
        config=config if has_config else None,
        **({} if has_config else asked),
    )
    assert (
        has_config == (not any("no config.json" in note for note in found.report.notes)) or not found.report.notes[1:]
    )


# name -> the trunk inside a classifier, if it has the pooling that the embedding is
CLASSIFIERS: dict[str, str] = {
    "BEiT": "beit",
    "Data2Vec": "data2vec_vision",
    "ResNet": "resnet",
    "ConvNeXt": "convnext",
}
CLASSIFIERS |= {"ConvNeXt V2": "convnextv2", "Swin": "swin"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_left_aside(name, drawn, saved, agrees) -> None:
    size = NETS[name][3]
    net = drawn(build(name, "ForImageClassification"))
    state, said = saved(net)
    trunk = getattr(net, CLASSIFIERS[name])
    found = agrees(state, lambda x: pooled(trunk, x), size=size, config=said)
    assert any("classifier" in part for part in found.dropped)


def test_a_network_saved_without_its_pooler(drawn, saved, agrees) -> None:
    net = drawn(build("Data2Vec"))
    state, said = saved(net)
    found = agrees(state, lambda x: net(x).last_hidden_state[:, 1:].mean(1), config=said)
    assert any("no pooler" in note for note in found.report.notes)


TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 8,
}


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
@pytest.mark.parametrize("has_config", [True, False])
def test_the_vision_tower_beside_a_text_tower(kind, has_config, drawn, saved, agrees) -> None:
    extra = {"projection_dim": 24} if kind == "CLIP" else {}
    config = getattr(transformers, f"{kind}Config")(vision_config=SIZES, text_config=TEXT, **extra)
    net = drawn(getattr(transformers, f"{kind}Model")(config))
    state, said = saved(net)

    def reference(x: torch.Tensor) -> torch.Tensor:
        if kind == "Siglip":
            return net.vision_model(x).pooler_output
        return net.visual_projection(net.vision_model(x).pooler_output)

    found = agrees(state, reference, config=said if has_config else None, **({} if has_config else {"heads": 2}))
    assert found.dropped["text_model"] > 4


def test_a_clip_tower_with_its_projection(drawn, saved, agrees) -> None:
    net = drawn(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**SIZES, projection_dim=20)))
    state, said = saved(net)
    found = agrees(state, lambda x: net(x).image_embeds, config=said)
    assert found.backbone.dim == 20


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_files_of_transformers_4_have_the_tower_s_name_before_all(kind, drawn, saved, agrees) -> None:
    net = drawn(getattr(transformers, f"{kind}VisionModel")(getattr(transformers, f"{kind}VisionConfig")(**SIZES)))
    state, said = saved(net)
    old = {f"vision_model.{key.removeprefix('vision_model.')}": value for key, value in state.items()}
    old["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    agrees(old, lambda x: net(x).pooler_output, config=said)


def test_strides_in_the_first_convolution_are_refused(drawn, saved) -> None:
    config = transformers.ResNetConfig(**RESNET, hidden_sizes=[64, 128, 256, 512], downsample_in_bottleneck=True)
    state, said = saved(drawn(transformers.ResNetModel(config)))
    with pytest.raises(CheckpointError, match="downsample_in_bottleneck=True"):
        convert(state, config=said)


def is_refused(state: dict[str, torch.Tensor], config: dict[str, Any]) -> bool:
    try:
        return convert(state, config=config) is None  # not recognised at all, or
    except CheckpointError:
        return True


@pytest.mark.parametrize("name", NETS)
def test_one_tensor_too_many_or_too_few_is_refused(name, drawn, saved) -> None:
    state, config = saved(drawn(build(name)))
    inside = next(key for key in state if "layer" in key and key.endswith("weight"))
    with pytest.raises(CheckpointError):
        convert({**state, inside.replace("weight", "extra"): torch.zeros(2)}, config=config)
    for gone in [key for key in state if not key.endswith(("num_batches_tracked", "mask_token"))][::7]:
        assert is_refused({key: value for key, value in state.items() if key != gone}, config), gone
