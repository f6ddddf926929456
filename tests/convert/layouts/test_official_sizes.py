"""Official Vision Transformers at their published widths, one block deep, in the containers they are published in."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

MEAN: dict[str, Any] = {"class_token": False, "global_pool": "avg", "fc_norm": False}
SCALE: dict[str, Any] = {"init_values": 1e-5}
GATED: dict[str, Any] = {**SCALE, "mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 16 / 3}
REGISTERS: dict[str, Any] = {"reg_tokens": 4, "no_embed_class": True, "dynamic_img_size": True}


def sines(dim: int, side: int, *, first: str) -> Tensor:
    """Return MAE's (first="column") or MoCo v3's (first="row") table, (1, 1 + side², dim)."""
    place = torch.arange(side, dtype=torch.float64)
    w = 10000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    row, column = place.repeat_interleave(side)[:, None] * w, place.repeat(side)[:, None] * w
    a, b = (column, row) if first == "column" else (row, column)
    return torch.cat([torch.zeros(1, dim), torch.cat([a.sin(), a.cos(), b.sin(), b.cos()], dim=1).float()])[None]


def bare(state: dict[str, Tensor]) -> dict[str, Any]:
    return state


def under(place: str, prefix: str) -> Any:
    return lambda state: {place: {f"{prefix}{key}": value for key, value in state.items()}}


def dinov2(state: dict[str, Tensor]) -> dict[str, Any]:
    is_gated = state["blocks.0.mlp.fc1.weight"].shape[0] != 4 * state["norm.weight"].shape[0]
    result = {"mask_token": torch.zeros(1, len(state["norm.weight"]))}
    for key, value in state.items():
        if is_gated:
            key = key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        result[key.replace("reg_token", "register_tokens")] = value
    if "register_tokens" in result:
        row = torch.full((1, 1, len(state["norm.weight"])), 0.1)
        result["cls_token"] = result["cls_token"] - row
        result["pos_embed"] = torch.cat([row, result["pos_embed"]], dim=1)
    return result


# release -> (width, heads, patch, image, network's options, how the file is made of it, fixed table)
NETS: dict[str, tuple[int, int, int, int, dict[str, Any], Any, str | None]] = {
    "DINO S/16": (384, 6, 16, 224, {}, bare, None),
    "DINO S/8": (384, 6, 8, 224, {}, bare, None),
    "DINO B/16": (768, 12, 16, 224, {}, bare, None),
    "DINO B/16 in full": (768, 12, 16, 224, {}, under("teacher", "backbone."), None),
    "iBOT L/16": (1024, 16, 16, 224, {}, under("state_dict", ""), None),
    "DINOv2 S/14": (384, 6, 14, 518, SCALE, dinov2, None),
    "DINOv2 B/14": (768, 12, 14, 518, SCALE, dinov2, None),
    "DINOv2 L/14": (1024, 16, 14, 518, SCALE, dinov2, None),
    "DINOv2 g/14": (1536, 24, 14, 518, GATED, dinov2, None),
    "DINOv2 S/14 with registers": (384, 6, 14, 518, {**SCALE, **REGISTERS}, dinov2, None),
    "DINOv2 B/14 with registers": (768, 12, 14, 518, {**SCALE, **REGISTERS}, dinov2, None),
    "DINOv2 L/14 with registers": (1024, 16, 14, 518, {**SCALE, **REGISTERS}, dinov2, None),
    "DINOv2 g/14 with registers": (1536, 24, 14, 518, {**GATED, **REGISTERS}, dinov2, None),
    "MAE B/16": (768, 12, 16, 224, {}, under("model", ""), "column"),
    "MAE L/16": (1024, 16, 16, 224, {}, under("model", ""), "column"),
    "MAE H/14": (1280, 16, 14, 224, {}, under("model", ""), "column"),
    "MAE B/16 fine-tuned": (768, 12, 16, 224, {"global_pool": "avg"}, under("model", ""), None),
    "MAE L/16 fine-tuned": (1024, 16, 16, 224, {"global_pool": "avg"}, under("model", ""), None),
    "MAE H/14 at 448": (1280, 16, 14, 448, {"global_pool": "avg"}, under("model", ""), None),
    "MoCo v3 S/16": (384, 12, 16, 224, {}, under("state_dict", "module.base_encoder."), "row"),
    "MoCo v3 S/16, linear classifier": (384, 12, 16, 224, {}, under("state_dict", "module."), "row"),
    "MoCo v3 B/16": (768, 12, 16, 224, {}, under("state_dict", "module.base_encoder."), "row"),
    "I-JEPA H/14": (1280, 16, 14, 224, MEAN, under("target_encoder", "module."), None),
    "I-JEPA H/16 at 448": (1280, 16, 16, 448, MEAN, under("target_encoder", "module."), None),
    "I-JEPA g/16": (1408, 16, 16, 224, MEAN, under("target_encoder", "module."), None),
    "MSN S/16": (384, 6, 16, 224, {}, under("target_encoder", "module."), None),
    "MSN L/7": (1024, 16, 7, 224, {}, under("target_encoder", "module."), None),
    "Mugs B/16": (768, 12, 16, 224, {}, under("state_dict", ""), None),
    "DeiT Ti": (192, 3, 16, 224, {}, under("model", ""), None),
    "DeiT B at 384": (768, 12, 16, 384, {}, under("model", ""), None),
    "DeiT III S": (384, 6, 16, 224, {**SCALE, "no_embed_class": True}, under("model", ""), None),
    "DeiT III H/14": (1280, 16, 14, 224, {**SCALE, "no_embed_class": True}, under("model", ""), None),
}


# The larger networks differ from the small ones in numbers alone.
LARGE = {name for name, (dim, *_) in NETS.items() if dim >= 1024}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LARGE else name for name in NETS]
)
def test_an_official_network(name, drawn, agrees) -> None:
    dim, heads, patch, image, options, make, table = NETS[name]
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    settings: dict[str, Any] = {
        "img_size": image,
        "patch_size": patch,
        "depth": 1,
        "num_classes": 0,
        "norm_layer": norm,
    }
    net = drawn(VisionTransformer(embed_dim=dim, num_heads=heads, **settings, **options))
    if table:
        net.load_state_dict({**net.state_dict(), "pos_embed": sines(dim, image // patch, first=table)})
    found = agrees(make(dict(net.state_dict())), net, size=image if image < 518 else 518, n=1)
    assert found.report.preprocess["size"] == (224 if image == 518 else image)
