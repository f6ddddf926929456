"""Hugging Face's CLIP and SigLIP: the vision tower, alone or beside the text tower."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import CLIP, HALF, Source, activation_of, count, heads_of, square
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_TABLE = "embeddings.position_embedding.weight"
_TOWER = "vision_model."
_PROJECTION = "visual_projection.weight"
_TYPES = {
    "clip": ("clip", "clip_vision_model"),
    "siglip": ("siglip", "siglip_vision_model"),
}


def _tower(keys: Collection[str]) -> str:
    """Return what stands before the vision tower's names."""
    return _TOWER if f"{_TOWER}{_TABLE}" in keys else ""


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    tower = _tower(keys)
    if f"{tower}{_TABLE}" not in keys or f"{tower}embeddings.patch_embedding.weight" not in keys:
        return None
    if f"{tower}encoder.layers.0.self_attn.q_proj.weight" not in keys:
        return None
    return {"kind": "clip" if f"{tower}embeddings.class_embedding" in keys else "siglip"}


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    kind, tower, source = facts["kind"], _tower(state), Source(state)
    config = _vision_config(facts)
    named = config.get("model_type")
    if named is not None and named not in _TYPES[kind]:
        raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a {kind} vision tower's.")
    facts = {**facts, "config": config}
    is_clip = kind == "clip"
    if not is_clip and not any(key.startswith(f"{tower}head.") for key in state):
        raise CheckpointError("it has no attention pooling (head.*), which SigLIP's embedding is made by.")
    dim, _, patch, _ = source.shape(f"{tower}embeddings.patch_embedding.weight")
    table = source.take(f"{tower}{_TABLE}")
    grid = square(table.shape[0] - is_clip, "the position embedding")
    target: dict[str, Tensor] = {"pos_embed": table[None]}
    source.move(
        target,
        {"embeddings.patch_embedding": "patch_embed.proj", "post_layernorm": "norm"}
        | ({"pre_layrnorm": "norm_pre"} if is_clip else {}),
        before=tower,
    )
    if is_clip:
        target["cls_token"] = source.take(f"{tower}embeddings.class_embedding")[None, None]
    names = {
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "self_attn.out_proj": "attn.proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    depth = count(state, f"{tower}encoder.layers.")
    for number in range(depth):
        old, new = f"{tower}encoder.layers.{number}.", f"blocks.{number}."
        source.move(target, names, before=old, after=new)
        for part in ("weight", "bias"):
            target[f"{new}attn.qkv.{part}"] = source.stacked([f"{old}self_attn.{which}_proj.{part}" for which in "qkv"])

    notes, project = [], 0
    if is_clip and _PROJECTION in source:
        target["head.weight"] = source.take(_PROJECTION)
        project = target["head.weight"].shape[0]
        notes.append("embedding: the projected class token (image_embeds)")
    elif is_clip:
        notes.append("embedding: the class token after the last norm (pooler_output)")
    else:
        _attention_pool(source, f"{tower}head.", target)
        notes.append("embedding: the attention pooling (pooler_output)")
    source.drop(
        r"(vision_model\.)?embeddings\.position_ids",
        r"text_model\..*",
        r"text_projection\..*",
        r"logit_(scale|bias)",
        r"classifier\..*",
    )
    default = "quick_gelu" if is_clip else "gelu_pytorch_tanh"
    if "hidden_act" not in config:
        name = activation_of({}, default)
        other = "; LAION's CLIP has gelu: say mlp=gelu if it is that" if is_clip else ""
        notes.append(f"{name}, as Hugging Face's {kind} has it (no config.json says it){other}")
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": heads_of(dim, facts),
        "patch": patch,
        "image_size": grid * patch,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0] if depth else 0,
        "mlp": activation_of(config, default),
        "eps": float(config.get("layer_norm_eps", 1e-5 if is_clip else 1e-6)),
        "cls": int(is_clip),
        "norm_pre": int(is_clip),
        "pool": "token" if is_clip else "attention",
        "project": project,
    }
    preprocess = {"size": grid * patch, **(CLIP if is_clip else HALF)}
    return source.finish("vit", options, target, notes=notes, preprocess=preprocess)


def _vision_config(facts: Facts) -> Mapping[str, Any]:
    """Return the vision tower's part of config.json."""
    config = facts["config"]
    inner = config.get("vision_config")
    if isinstance(inner, Mapping):
        return {"model_type": config.get("model_type"), **{k: v for k, v in inner.items() if k != "model_type"}}
    return config


def _attention_pool(source: Source, old: str, target: dict[str, Tensor]) -> None:
    target["attn_pool.latent"] = source.take(f"{old}probe")
    for part in ("weight", "bias"):
        joint = source.take(f"{old}attention.in_proj_{part}")
        third = joint.shape[0] // 3
        target[f"attn_pool.q.{part}"] = joint[:third]
        target[f"attn_pool.kv.{part}"] = joint[third:]
    source.move(
        target,
        {"attention.out_proj": "proj", "layernorm": "norm", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"},
        before=old,
        after="attn_pool.",
    )


LAYOUT = Layout(
    name="hf-clip",
    source="huggingface/transformers: src/transformers/models/{clip,siglip}/modeling_*.py",
    title="Hugging Face CLIP and SigLIP vision towers",
    anchors=(f"{_TOWER}{_TABLE}", _TABLE),
    recognise=recognise,
    convert=convert,
    gives="CLIP: the class token, projected where the file has the projection; SigLIP: its attention pooling",
    checked="transformers",
    model_types=("clip", "clip_vision_model", "siglip", "siglip_vision_model"),
)
