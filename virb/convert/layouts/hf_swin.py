"""Hugging Face's Swin Transformers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, activation_of, count, joined, window_of
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "embeddings.patch_embeddings.projection"
_SELF = "attention.self."
_TABLE = f"{_SELF}relative_position_bias_table"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    return {} if f"{_PATCHES}.weight" in keys and f"encoder.layers.0.blocks.0.{_TABLE}" in keys else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    config, source = facts["config"], Source(state)
    named = config.get("model_type", "swin")
    if named != "swin":
        raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a swin's.")
    if activation_of(config, "gelu") != "gelu" or config.get("use_absolute_embeddings", False):
        raise CheckpointError(
            "its config.json asks for another activation or absolute positions, which no release has."
        )
    target: dict[str, Tensor] = {}
    source.move(target, {_PATCHES: "patch_embed.proj", "embeddings.norm": "patch_embed.norm", "layernorm": "norm"})
    names = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        _TABLE: "attn.relative_position_bias_table",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    depths, heads = [], []
    has_bias = f"encoder.layers.0.blocks.0.{_SELF}query.bias" in source
    n_stages = count(state, "encoder.layers.")
    for stage in range(n_stages):
        start = f"encoder.layers.{stage}."
        depths.append(count(state, f"{start}blocks."))
        heads.append(source.shape(f"{start}blocks.0.{_TABLE}")[1])
        for number in range(depths[-1]):
            old, new = f"{start}blocks.{number}.", f"layers.{stage}.blocks.{number}."
            source.move(target, names, before=old, after=new)
            for part in ("weight", "bias") if has_bias else ("weight",):
                target[f"{new}attn.qkv.{part}"] = source.stacked(
                    [f"{old}{_SELF}{name}.{part}" for name in ("query", "key", "value")]
                )
        if stage + 1 < n_stages:  # theirs ends a stage with it, timm's begins the next one
            moved = {"downsample.norm": "downsample.norm", "downsample.reduction": "downsample.reduction"}
            source.move(target, moved, before=start, after=f"layers.{stage + 1}.")
    source.drop(r".*\.relative_position_index", r"embeddings\.mask_token", r"(classifier|decoder|pooler)\..*")
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    n_offsets, _ = source.shape(f"encoder.layers.0.blocks.0.{_TABLE}")
    size = int(config.get("image_size", 224))
    options: dict[str, Any] = {
        "dim": dim,
        "depths": joined(depths),
        "heads": joined(heads),
        "window": window_of(n_offsets),
        "patch": patch,
        "image_size": size,
        "hidden": target["layers.0.blocks.0.mlp.fc1.weight"].shape[0] / dim,
        "eps": float(config.get("layer_norm_eps", 1e-5)),
        "qkv_bias": int(has_bias),
    }
    notes = ["embedding: the mean of the last tokens after the norm (pooler_output)"]
    if "image_size" not in config:
        notes.append(
            "images of 224 pixels (no config.json says it; a window of 12 is of networks for 384: say size=384)"
        )
        if options["window"] == 12:
            options["image_size"] = size = 384
            notes[-1] = "images of 384 pixels, as published networks with a window of 12 have them"
    return source.finish("swin", options, target, notes=notes, preprocess={"size": size, **IMAGENET})


LAYOUT = Layout(
    name="hf-swin",
    source="huggingface/transformers: src/transformers/models/swin/modeling_swin.py",
    title="Hugging Face Swin",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="the mean of the last tokens after the norm",
    checked="transformers",
    model_types=("swin",),
)
