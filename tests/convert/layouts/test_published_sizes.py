"""Published networks at their published widths, one block deep: a bare file needs no word about heads, grids or windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

transformers: Any = pytest.importorskip("transformers")


def vit(width: int, heads: int, patch: int, image: int, **options: Any) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "patch_size": patch,
        "image_size": image,
        "intermediate_size": 4 * width,
        "num_hidden_layers": 1,
        **options,
    }


def token(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).last_hidden_state[:, 0]


def mean(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).last_hidden_state.mean(1)


def pooled(net: Any, x: torch.Tensor) -> torch.Tensor:
    return net(x).pooler_output.flatten(1)


def dinov2(width: int, heads: int, **options: Any) -> dict[str, Any]:
    settings = vit(width, heads, 14, 518, **options)
    del settings["intermediate_size"]
    return settings


# release -> (class, configuration, embedding)
NETS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "google/vit-base-patch16-224": ("ViT", vit(768, 12, 16, 224), token),
    "google/vit-base-patch16-384": ("ViT", vit(768, 12, 16, 384), token),
    "google/vit-base-patch32-384": ("ViT", vit(768, 12, 32, 384), token),
    "google/vit-large-patch16-224": ("ViT", vit(1024, 16, 16, 224), token),
    "google/vit-large-patch32-384": ("ViT", vit(1024, 16, 32, 384), token),
    "google/vit-huge-patch14-224-in21k": ("ViT", vit(1280, 16, 14, 224), token),
    "WinKawaks/vit-tiny-patch16-224": ("ViT", vit(192, 3, 16, 224), token),
    "WinKawaks/vit-small-patch16-224": ("ViT", vit(384, 6, 16, 224), token),
    "facebook/dino-vits16": ("ViT", vit(384, 6, 16, 224), token),
    "facebook/dino-vits8": ("ViT", vit(384, 6, 8, 224), token),
    "facebook/dino-vitb16": ("ViT", vit(768, 12, 16, 224), token),
    "facebook/dino-vitb8": ("ViT", vit(768, 12, 8, 224), token),
    "facebook/deit-tiny-distilled-patch16-224": ("DeiT", vit(192, 3, 16, 224), token),
    "facebook/deit-small-distilled-patch16-224": ("DeiT", vit(384, 6, 16, 224), token),
    "facebook/deit-base-distilled-patch16-384": ("DeiT", vit(768, 12, 16, 384), token),
    "facebook/ijepa_vith14_1k": ("IJepa", vit(1280, 16, 14, 224), mean),
    "facebook/ijepa_vith16_1k": ("IJepa", vit(1280, 16, 16, 448), mean),
    "facebook/ijepa_vitg16_22k": ("IJepa", vit(1408, 16, 16, 224, intermediate_size=6144), mean),
    "facebook/dinov2-small": ("Dinov2", dinov2(384, 6), token),
    "facebook/dinov2-base": ("Dinov2", dinov2(768, 12), token),
    "facebook/dinov2-large": ("Dinov2", dinov2(1024, 16), token),
    "facebook/dinov2-giant": ("Dinov2", dinov2(1536, 24, use_swiglu_ffn=True), token),
    "facebook/dinov2-with-registers-small": ("Dinov2WithRegisters", dinov2(384, 6), token),
    "facebook/dinov2-with-registers-base": ("Dinov2WithRegisters", dinov2(768, 12), token),
    "facebook/dinov2-with-registers-large": ("Dinov2WithRegisters", dinov2(1024, 16), token),
    "facebook/dinov2-with-registers-giant": ("Dinov2WithRegisters", dinov2(1536, 24, use_swiglu_ffn=True), token),
    "facebook/dinov3-vits16": ("DINOv3ViT", vit(384, 6, 16, 224, num_register_tokens=4), pooled),
    "facebook/dinov3-vits16plus": (
        "DINOv3ViT",
        vit(384, 6, 16, 224, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu"),
        pooled,
    ),
    "facebook/dinov3-vitb16": ("DINOv3ViT", vit(768, 12, 16, 224, num_register_tokens=4), pooled),
    "facebook/dinov3-vitl16": ("DINOv3ViT", vit(1024, 16, 16, 224, num_register_tokens=4), pooled),
    "facebook/dinov3-vith16plus": (
        "DINOv3ViT",
        vit(1280, 20, 16, 224, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu"),
        pooled,
    ),
    "openai/clip-vit-base-patch32": ("CLIPVision", vit(768, 12, 32, 224), pooled),
    "openai/clip-vit-base-patch16": ("CLIPVision", vit(768, 12, 16, 224), pooled),
    "openai/clip-vit-large-patch14": ("CLIPVision", vit(1024, 16, 14, 224), pooled),
    "openai/clip-vit-large-patch14-336": ("CLIPVision", vit(1024, 16, 14, 336), pooled),
    "google/siglip-base-patch16-224": ("SiglipVision", vit(768, 12, 16, 224), pooled),
    "google/siglip-base-patch16-384": ("SiglipVision", vit(768, 12, 16, 384), pooled),
    "google/siglip-large-patch16-256": ("SiglipVision", vit(1024, 16, 16, 256), pooled),
    "google/siglip-so400m-patch14-224": ("SiglipVision", vit(1152, 16, 14, 224, intermediate_size=4304), pooled),
    "microsoft/beit-base-patch16-224": ("Beit", vit(768, 12, 16, 224, use_relative_position_bias=True), pooled),
    "microsoft/beit-large-patch16-224": ("Beit", vit(1024, 16, 16, 224, use_relative_position_bias=True), pooled),
    "microsoft/resnet-18": (
        "ResNet",
        {"layer_type": "basic", "depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512]},
        pooled,
    ),
    "microsoft/resnet-26": ("ResNet", {"depths": [2, 2, 2, 2]}, pooled),
    "microsoft/resnet-34": (
        "ResNet",
        {"layer_type": "basic", "depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 256, 512]},
        pooled,
    ),
    "microsoft/resnet-50": ("ResNet", {"depths": [3, 4, 6, 3]}, pooled),
    "facebook/convnext-tiny-224": ("ConvNext", {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]}, pooled),
    "facebook/convnextv2-atto-1k-224": (
        "ConvNextV2",
        {"depths": [2, 2, 6, 2], "hidden_sizes": [40, 80, 160, 320]},
        pooled,
    ),
    "facebook/convnextv2-tiny-22k-224": (
        "ConvNextV2",
        {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]},
        pooled,
    ),
    "microsoft/swin-tiny-patch4-window7-224": (
        "Swin",
        {"embed_dim": 96, "depths": [2, 2, 1, 1], "num_heads": [3, 6, 12, 24]},
        pooled,
    ),
    "microsoft/swin-base-patch4-window12-384": (
        "Swin",
        {"embed_dim": 128, "depths": [2, 1, 1, 1], "num_heads": [4, 8, 16, 32], "window_size": 12, "image_size": 384},
        pooled,
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_a_bare_file_of_a_published_network(name, drawn, saved, agrees) -> None:
    kind, options, embed = NETS[name]
    config = getattr(transformers, f"{kind}Config")(**options)
    net = drawn(getattr(transformers, f"{kind}Model")(config))
    state, _ = saved(net)
    size = {224: 224, 384: 384, 256: 256, 336: 336, 448: 448}.get(int(options.get("image_size", 224)), 224)
    found = agrees(state, lambda x: embed(net, x), size=size if options.get("patch_size", 16) > 8 else 224, n=1)
    assert found.report.preprocess["size"] == size
