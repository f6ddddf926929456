"""OpenMMLab's and torchvision's Vision Transformers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, heads_of, square

if TYPE_CHECKING:
    from torch import Tensor

# Where each keeps what: the patches, the token, the table, the blocks, the last norm, and the names inside a block.
_MMPRETRAIN = (
    "patch_embed.projection",
    "cls_token",
    "pos_embed",
    "layers.",
    "ln1",
    {
        "ln1": "norm1",
        "ln2": "norm2",
        "attn.qkv": "attn.qkv",
        "attn.proj": "attn.proj",
        "ffn.layers.0.0": "mlp.fc1",
        "ffn.layers.1": "mlp.fc2",
    },
)
_TORCHVISION = (
    "conv_proj",
    "class_token",
    "encoder.pos_embedding",
    "encoder.layers.encoder_layer_",
    "encoder.ln",
    {
        "ln_1": "norm1",
        "ln_2": "norm2",
        "self_attention.in_proj_weight": "attn.qkv.weight",
        "self_attention.in_proj_bias": "attn.qkv.bias",
        "self_attention.out_proj": "attn.proj",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
    },
)


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    for kind, (patches, token, table, blocks, _norm, names) in (("mm", _MMPRETRAIN), ("tv", _TORCHVISION)):
        if {f"{patches}.weight", token, table, f"{blocks}0.{next(iter(names))}.weight"} <= set(keys):
            return {"kind": kind}
    return None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    is_mm = facts["kind"] == "mm"
    patches, token, table, blocks, norm, names = _MMPRETRAIN if is_mm else _TORCHVISION
    source = Source(state)
    dim, _, patch, _ = source.shape(f"{patches}.weight")
    target: dict[str, Tensor] = {"cls_token": source.take(token), "pos_embed": source.take(table)}
    source.move(target, {patches: "patch_embed.proj", norm: "norm"})
    old_names = {key.removeprefix(blocks) for key in state if key.startswith(blocks)}
    depth = count(old_names, "")
    for number in range(depth):
        source.move(target, names, before=f"{blocks}{number}.", after=f"blocks.{number}.")
    source.drop(r"(head|heads|neck)\..*", r"mask_token")
    size = square(target["pos_embed"].shape[1] - 1, "the position embedding") * patch
    options: dict[str, Any] = {
        "dim": dim,
        "depth": depth,
        "heads": heads_of(dim, facts),
        "patch": patch,
        "image_size": size,
        "hidden": target["blocks.0.mlp.fc1.weight"].shape[0],
        "eps": 1e-6,
    }
    notes = ["embedding: the class token after the last norm"]
    return source.finish("vit", options, target, notes=notes, preprocess={"size": size, **IMAGENET})


LAYOUT = Layout(
    name="other-vit",
    source="open-mmlab/mmpretrain: mmpretrain/models/backbones/vision_transformer.py; pytorch/vision: models/vision_transformer.py",
    title="mmpretrain and torchvision ViT",
    anchors=(f"{_MMPRETRAIN[0]}.weight", f"{_TORCHVISION[0]}.weight"),
    recognise=recognise,
    convert=convert,
    gives="class token after the last norm",
    checked="torchvision, timm",
)
