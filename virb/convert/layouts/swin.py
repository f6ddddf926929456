"""Swin as released, with EsViT's and SimMIM's, which have its names; and timm's own Swin."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, joined, window_of

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "patch_embed.proj"
_TABLE = "attn.relative_position_bias_table"
_FIRST = "layers.0.blocks.0."


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    is_one = f"{_PATCHES}.weight" in keys and f"{_FIRST}{_TABLE}" in keys and f"{_FIRST}attn.qkv.weight" in keys
    return {} if is_one and f"{_FIRST}attn.logit_scale" not in keys else None  # Swin V2 has one


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    target: dict[str, Tensor] = {}
    source.move(target, {_PATCHES: _PATCHES, "patch_embed.norm": "patch_embed.norm", "norm": "norm"})
    # The release ends a stage with its downsampling, timm begins the next stage with it.
    shift = 1 if "layers.0.downsample.reduction.weight" in source else 0
    has_bias = f"{_FIRST}attn.qkv.bias" in source
    names = {name: name for name in ("norm1", "norm2", _TABLE, "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    depths, heads = [], []
    n_stages = count(state, "layers.")
    for stage in range(n_stages):
        start = f"layers.{stage}."
        depths.append(count(state, f"{start}blocks."))
        heads.append(source.shape(f"{start}blocks.0.{_TABLE}")[1])
        for number in range(depths[-1]):
            source.move(target, names, before=f"{start}blocks.{number}.", after=f"{start}blocks.{number}.")
        if stage:
            moved = {"downsample.norm": "downsample.norm", "downsample.reduction": "downsample.reduction"}
            source.move(target, moved, before=f"layers.{stage - shift}.", after=start)
    masks = {
        match[1]: value
        for key, value in state.items()
        if (match := re.fullmatch(r"layers\.0\.blocks\.(\d+)\.attn_mask", key))
    }
    source.drop(r".*\.(relative_position_index|attn_mask)", r"mask_token", r"(head|decoder)(\..*)?")
    window = window_of(source.shape(f"{_FIRST}{_TABLE}")[0])
    patch = source.shape(f"{_PATCHES}.weight")[2]
    notes = ["embedding: the mean of the last tokens after the norm"]
    size = {12: 384, 24: 384}.get(window, 224)
    if masks:  # of the first stage: as many windows as cover its grid
        n_windows = next(iter(masks.values())).shape[0]
        size = round(n_windows**0.5) * window * patch
    elif "image_size" not in facts["asked"]:
        notes.append(
            f"images of {size} pixels, as published networks with a window of {window} have (image_size= is another)"
        )
    dim = source.shape(f"{_PATCHES}.weight")[0]
    options: dict[str, Any] = {
        "dim": dim,
        "depths": joined(depths),
        "heads": joined(heads),
        "window": window,
        "patch": patch,
        "image_size": int(facts["asked"].get("image_size", size)),
        "hidden": target[f"{_FIRST}mlp.fc1.weight"].shape[0] / dim,
        "qkv_bias": int(has_bias),
    }
    preprocess = {"size": options["image_size"], **IMAGENET}
    return source.finish("swin", options, target, notes=notes, preprocess=preprocess)


LAYOUT = Layout(
    name="swin",
    source="microsoft/Swin-Transformer: models/swin_transformer.py; microsoft/esvit; microsoft/SimMIM: models/swin_transformer.py",
    title="Swin, EsViT, SimMIM Swin",
    anchors=(f"{_PATCHES}.weight",),
    recognise=recognise,
    convert=convert,
    gives="the mean of the last tokens after the norm; 224 px, 384 for windows of 12 and 24, or what the masks say",
    checked="timm",
)
