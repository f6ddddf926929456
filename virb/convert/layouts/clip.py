"""OpenAI's CLIP and OpenCLIP with a Vision Transformer of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import CLIP, Source, count, heads_of, open_clip_model, square
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_TOWER = "visual."
_ANCHOR = "class_embedding"
TEXT = (  # what stands beside the vision tower; the last three are OpenAI's alone
    r"(text\.)?(positional_embedding|text_projection|token_embedding\.weight|cls_emb|attn_mask)",
    r"(text\.)?(transformer|ln_final)\..*",
    r"(text|text_decoder)\..*",
    r"text_projection\..*",
    r"logit_(scale|bias)",
    r"input_resolution|context_length|vocab_size",
)


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    tower = _TOWER if f"{_TOWER}{_ANCHOR}" in keys else ""
    if f"{tower}{_ANCHOR}" not in keys or f"{tower}transformer.resblocks.0.attn.in_proj_weight" not in keys:
        return None
    return {"tower": tower, "is_openai": {"input_resolution", "context_length", "vocab_size"} <= set(keys)}


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    tower, source = facts["tower"], Source(state)
    model = open_clip_model(facts)
    said: Mapping[str, Any] = model.get("vision_cfg") or {}
    for key in ("attentional_pool", "no_ln_pre", "final_ln_after_pool"):
        if said.get(key):
            raise CheckpointError(f"open_clip_config.json says {key}={said[key]!r}, which virb's networks do not have.")
    if said.get("pool_type", "tok") != "tok":
        raise CheckpointError(f"open_clip_config.json says pool_type={said['pool_type']!r}; expected 'tok'.")
    dim, _, patch, _ = source.shape(f"{tower}conv1.weight")
    table = source.take(f"{tower}positional_embedding")
    grid = square(table.shape[0] - 1, "the position embedding")
    target: dict[str, Tensor] = {"cls_token": source.take(f"{tower}{_ANCHOR}")[None, None], "pos_embed": table[None]}
    source.move(target, {"conv1": "patch_embed.proj", "ln_pre": "norm_pre", "ln_post": "norm"}, before=tower)
    names = {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "attn.in_proj_weight": "attn.qkv.weight",
        "attn.in_proj_bias": "attn.qkv.bias",
        "attn.out_proj": "attn.proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }
    start = f"{tower}transformer.resblocks."
    has_scale = f"{start}0.ls_1.gamma" in source
    if has_scale:
        names |= {"ls_1.gamma": "ls1.gamma", "ls_2.gamma": "ls2.gamma"}
    depth = count(state, start)
    for number in range(depth):
        source.move(target, names, before=f"{start}{number}.", after=f"blocks.{number}.")
    target["head.weight"] = source.take(f"{tower}proj").T
    if tower:
        source.drop(*TEXT)
    else:
        source.drop(r"input_resolution|context_length|vocab_size")

    notes = ["embedding: encode_image, the class token after the projection"]
    if facts["is_openai"]:
        activation = "quick_gelu"
        notes.append(
            "quick GELU, as OpenAI's CLIP has it (input_resolution, context_length and vocab_size are OpenAI's)"
        )
    elif "quick_gelu" in model or said:
        activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
        notes.append(f"{activation}, as open_clip_config.json says")
    else:
        activation = "gelu"
        notes.append(
            "gelu, as LAION's CLIP has it; OpenAI's, DFN's and MetaCLIP's weights have the same tensors and quick GELU: "
            "say mlp=quick_gelu if it is one of them"
        )
    head_width = int(said.get("head_width", 0))
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": dim // head_width if head_width else heads_of(dim, {**facts, "config": {}}),
        "patch": patch,
        "image_size": grid * patch,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0] if depth else 0,
        "mlp": activation,
        "eps": 1e-5,
        "norm_pre": 1,
        "layer_scale": int(has_scale),
        "project": target["head.weight"].shape[0],
    }
    return source.finish("vit", options, target, notes=notes, preprocess={"size": grid * patch, **CLIP})


LAYOUT = Layout(
    name="clip",
    source="openai/CLIP: clip/model.py; mlfoundations/open_clip: src/open_clip/transformer.py",
    title="OpenAI CLIP and OpenCLIP ViT",
    anchors=(f"{_TOWER}{_ANCHOR}", _ANCHOR),
    recognise=recognise,
    convert=convert,
    gives="encode_image, the projected class token; quick GELU where OpenAI's own entries or open_clip_config.json say it, else GELU (`mlp=quick_gelu`)",
    checked="open_clip",
)
