"""Hugging Face's DINOv3 Vision Transformers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, dinov3_heads, rotary_periods
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "embeddings.patch_embeddings"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    is_one = f"{_PATCHES}.weight" in keys and "embeddings.register_tokens" in keys
    return {} if is_one and any(key.endswith("layer.0.attention.q_proj.weight") for key in keys) else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    config = facts["config"]
    named = config.get("model_type", "dinov3_vit")
    if named != "dinov3_vit":
        raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a dinov3_vit's.")
    source = Source(state)
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    target: dict[str, Tensor] = {}
    start = "model.layer." if any(key.startswith("model.layer.") for key in state) else "layer."
    source.move(
        target,
        {
            _PATCHES: "patch_embed.proj",
            "embeddings.cls_token": "cls_token",
            "norm": "norm",
        },
    )
    registers = source.take("embeddings.register_tokens")
    if registers.shape[1]:
        target["reg_token"] = registers
    depth = count(state, start)
    is_gated = f"{start}0.mlp.gate_proj.weight" in source
    expected = "silu" if is_gated else "gelu"
    if config.get("hidden_act", expected) != expected:
        raise CheckpointError(
            f"its config.json says hidden_act={config['hidden_act']!r}; DINOv3's {'gated' if is_gated else 'plain'} "
            f"networks have {expected}."
        )
    has_bias = f"{start}0.attention.q_proj.bias" in source
    names = {
        "norm1": "norm1",
        "norm2": "norm2",
        "layer_scale1.lambda1": "gamma_1",
        "layer_scale2.lambda1": "gamma_2",
        "attention.o_proj": "attn.proj",
        "mlp.down_proj": "mlp.fc2",
        **({"mlp.gate_proj": "mlp.fc1_g", "mlp.up_proj": "mlp.fc1_x"} if is_gated else {"mlp.up_proj": "mlp.fc1"}),
    }
    for number in range(depth):
        old, new = f"{start}{number}.", f"blocks.{number}."
        source.move(target, names, before=old, after=new)
        target[f"{new}attn.qkv.weight"] = source.stacked([f"{old}attention.{part}_proj.weight" for part in "qkv"])
        if has_bias:
            target[f"{new}attn.q_bias"] = source.take(f"{old}attention.q_proj.bias")
            target[f"{new}attn.v_bias"] = source.take(f"{old}attention.v_proj.bias")
    source.drop(r"embeddings\.mask_token", r"classifier\..*")
    heads = dinov3_heads(dim, facts)
    base = float(config.get("rope_theta") or (config.get("rope_parameters") or {}).get("rope_theta", 100.0))
    target["rope.periods"] = rotary_periods(dim, heads, base)
    hidden = target["blocks.0.mlp.fc2.weight"].shape[1] if depth else 0
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "patch": patch,
        "hidden": hidden,
        "mlp": "swiglu" if is_gated else "gelu",
        "eps": float(config.get("layer_norm_eps", 1e-5)),
        "registers": registers.shape[1],
        "qkv_bias": int(has_bias),
        "base": base,
    }
    notes = ["embedding: the class token after the last norm"]
    if not config:
        notes.append("224 pixels and ImageNet's mean and std; the satellite (SAT) weights have others (no config.json)")
    return source.finish("dinov3", options, target, notes=notes, preprocess={"size": 224, **IMAGENET})


LAYOUT = Layout(
    name="hf-dinov3",
    source="huggingface/transformers: src/transformers/models/dinov3_vit/modeling_dinov3_vit.py",
    title="Hugging Face DINOv3 ViT",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="class token after the last norm; 224 px, ImageNet's mean and std",
    checked="transformers",
    model_types=("dinov3_vit",),
)
