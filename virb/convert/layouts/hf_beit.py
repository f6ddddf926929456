"""Hugging Face's BEiT and Data2Vec-vision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import HALF, IMAGENET, Source, activation_of, count, window_of
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "embeddings.patch_embeddings.projection"
_BIAS = "relative_position_bias.relative_position_bias_table"
_LAYER_BIAS = f"attention.attention.{_BIAS}"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    is_one = f"{_PATCHES}.weight" in keys and "encoder.layer.0.attention.attention.query.weight" in keys
    has_bias = f"encoder.layer.0.{_LAYER_BIAS}" in keys or f"encoder.{_BIAS}" in keys
    return {} if is_one and has_bias else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    config, source = facts["config"], Source(state)
    named = config.get("model_type")
    if named not in (None, "beit", "data2vec-vision"):
        raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a beit's.")
    if activation_of(config, "gelu") != "gelu":
        raise CheckpointError(f"its config.json says hidden_act={config['hidden_act']!r}; BEiT's networks have gelu.")
    dim, _, patch, _ = source.shape(f"{_PATCHES}.weight")
    depth = count(state, "encoder.layer.")
    target: dict[str, Tensor] = {"cls_token": source.take("embeddings.cls_token")}
    source.move(target, {_PATCHES: "patch_embed.proj"})
    has_positions = "embeddings.position_embeddings" in source
    if has_positions:
        target["pos_embed"] = source.take("embeddings.position_embeddings")
    is_shared = f"encoder.{_BIAS}" in source
    if is_shared:
        target["rel_pos_bias.relative_position_bias_table"] = source.take(f"encoder.{_BIAS}")
    names = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    has_scale = "encoder.layer.0.lambda_1" in source
    if has_scale:
        names |= {"lambda_1": "gamma_1", "lambda_2": "gamma_2"}
    if not is_shared:
        names |= {_LAYER_BIAS: "attn.relative_position_bias_table"}
    for number in range(depth):
        old, new = f"encoder.layer.{number}.", f"blocks.{number}."
        source.move(target, names, before=old, after=new)
        old += "attention.attention."
        target[f"{new}attn.qkv.weight"] = source.stacked([f"{old}{part}.weight" for part in ("query", "key", "value")])
        target[f"{new}attn.q_bias"] = source.take(f"{old}query.bias")
        target[f"{new}attn.v_bias"] = source.take(f"{old}value.bias")

    # With mean pooling the norm is the pooler's; without it the whole sequence is normalised and the token is read.
    # A network saved without its pooler (as data2vec-vision-base is) has neither.
    norm = "pooled" if "pooler.layernorm.weight" in source else "tokens" if "layernorm.weight" in source else "none"
    if norm != "none":
        source.move(target, {"pooler.layernorm": "fc_norm"} if norm == "pooled" else {"layernorm": "norm"})
    source.drop(
        r"embeddings\.mask_token",
        r".*\.relative_position_index",
        r"(classifier|lm_head|decode_head|auxiliary_head)\..*",
    )
    table = target[
        "rel_pos_bias.relative_position_bias_table" if is_shared else "blocks.0.attn.relative_position_bias_table"
    ]
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": table.shape[1],
        "patch": patch,
        "image_size": window_of(table.shape[0] - 3) * patch,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0],
        "eps": float(config.get("layer_norm_eps", 1e-12)),
        "biases": "shared" if is_shared else "layers",
        "positions": "all" if has_positions else "none",
        "layer_scale": int(has_scale),
        "pool": "token" if norm == "tokens" else "avg",
        "norm": norm,
    }
    notes = [
        {
            "pooled": "embedding: the norm of the patch tokens' mean (pooler_output)",
            "tokens": "embedding: the class token after the last norm",
            "none": "embedding: the mean of the patch tokens, with no norm, as the file has no pooler",
        }[norm]
    ]
    if "layer_norm_eps" not in config:
        notes.append("eps 1e-12 of LayerNorm, as Hugging Face's beit has it (no config.json says it)")
    normal = IMAGENET if named == "data2vec-vision" else HALF
    return source.finish("beit", options, target, notes=notes, preprocess={"size": options["image_size"], **normal})


LAYOUT = Layout(
    name="hf-beit",
    source="huggingface/transformers: src/transformers/models/{beit,data2vec}/modeling_*.py",
    title="Hugging Face BEiT and Data2Vec-vision",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="the norm of the patches' mean; the class token where config.json has no mean pooling",
    checked="transformers",
    model_types=("beit", "data2vec-vision"),
)
