"""Hugging Face's ConvNeXts, both versions, and DINOv3's ConvNeXts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, joined
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "embeddings.patch_embeddings"
_DINO = "stages.0.downsample_layers.0"
_BLOCK = {"dwconv": "conv_dw", "layernorm": "norm", "pwconv1": "mlp.fc1", "pwconv2": "mlp.fc2"}
_DINO_BLOCK = {
    "depthwise_conv": "conv_dw",
    "layer_norm": "norm",
    "pointwise_conv1": "mlp.fc1",
    "pointwise_conv2": "mlp.fc2",
    "gamma": "gamma",
}


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    if f"{_STEM}.weight" in keys and "encoder.stages.0.layers.0.dwconv.weight" in keys:
        return {"kind": "convnextv2" if "encoder.stages.0.layers.0.grn.weight" in keys else "convnext"}
    if f"{_DINO}.weight" in keys and "stages.0.layers.0.depthwise_conv.weight" in keys:
        return {"kind": "dinov3_convnext"}
    return None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    kind, config, source = facts["kind"], facts["config"], Source(state)
    named = config.get("model_type", kind)
    if named != kind:
        raise CheckpointError(f"config.json says model_type={named!r}, and its tensors are a {kind}'s.")
    if config.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f"its config.json says hidden_act={config['hidden_act']!r}; ConvNeXts have gelu.")
    is_dino, is_second = kind == "dinov3_convnext", kind == "convnextv2"
    stages = "stages." if is_dino else "encoder.stages."
    stem, between = (_DINO[:-1], "downsample_layers") if is_dino else ("", "downsampling_layer")
    target: dict[str, Tensor] = {}
    if is_dino:
        source.move(target, {f"{stem}0": "stem.0", f"{stem}1": "stem.1", "layer_norm": "head.norm"})
    else:
        source.move(target, {_STEM: "stem.0", "embeddings.layernorm": "stem.1", "layernorm": "head.norm"})
    has_scale = not is_second and (is_dino or "encoder.stages.0.layers.0.layer_scale_parameter" in source)
    dims, depths = [], []
    for stage in range(count(state, stages)):
        if stage:
            moved = {f"{between}.{part}": f"downsample.{part}" for part in (0, 1)}
            source.move(target, moved, before=f"{stages}{stage}.", after=f"stages.{stage}.")
        names = dict(_DINO_BLOCK if is_dino else _BLOCK)
        if has_scale and not is_dino:
            names["layer_scale_parameter"] = "gamma"
        depths.append(count(state, f"{stages}{stage}.layers."))
        for number in range(depths[-1]):
            old, new = f"{stages}{stage}.layers.{number}.", f"stages.{stage}.blocks.{number}."
            source.move(target, names, before=old, after=new)
            if is_second:
                for part in ("weight", "bias"):
                    target[f"{new}mlp.grn.{part}"] = source.take(f"{old}grn.{part}").flatten()
        dims.append(source.shape(f"{stages}{stage}.layers.0.{'depthwise_conv' if is_dino else 'dwconv'}.weight")[0])
    source.drop(r"classifier\..*")
    # Blocks and stem have 1e-6 whatever the configuration says; its layer_norm_eps is the last norm's.
    last_eps = float(config.get("layer_norm_eps", 1e-6 if is_dino else 1e-12))
    options: dict[str, Any] = {
        "dims": joined(dims),
        "depths": joined(depths),
        "patch": source.shape(f"{stem}0.weight" if is_dino else f"{_STEM}.weight")[2],
        "version": 2 if is_second else 1,
        "layer_scale": int(has_scale),
        "eps": last_eps if is_dino else 1e-6,
        "last_eps": last_eps,
    }
    notes = ["embedding: the norm of the last stage's mean (pooler_output)"]
    if "layer_norm_eps" not in config:
        notes.append(f"eps {last_eps:g} of the last norm, as Hugging Face's {kind} has it (no config.json says it)")
    return source.finish("convnext", options, target, notes=notes, preprocess={"size": 224, **IMAGENET})


LAYOUT = Layout(
    name="hf-convnext",
    source="huggingface/transformers: src/transformers/models/{convnext,convnextv2,dinov3_convnext}/modeling_*.py",
    title="Hugging Face ConvNeXt, ConvNeXt V2 and DINOv3 ConvNeXt",
    anchors=(f"{_STEM}.weight", f"{_DINO}.weight"),
    recognise=recognise,
    convert=convert,
    gives="the norm of the last stage's mean",
    checked="transformers",
    model_types=("convnext", "convnextv2", "dinov3_convnext"),
)
