"""Hugging Face's ResNets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, resnet_architecture
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "embedder.embedder"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    return {} if "encoder.stages.0.layers.0.layer.0.convolution.weight" in keys else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    config, source = facts["config"], Source(state)
    if config.get("model_type") not in (None, "resnet"):
        raise CheckpointError(f"config.json says model_type={config['model_type']!r}, and its tensors are a resnet's.")
    for key, expected in (
        ("downsample_in_bottleneck", False),
        ("downsample_in_first_stage", False),
        ("hidden_act", "relu"),
    ):
        if config.get(key, expected) != expected:
            raise CheckpointError(f"config.json says {key}={config[key]!r}; virb's ResNets have {expected!r}.")
    target: dict[str, Tensor] = {}

    def block(old: str, conv: str, norm: str) -> None:
        source.move(target, {f"{old}.convolution": conv})
        for part in ("weight", "bias", "running_mean", "running_var"):
            target[f"{norm}.{part}"] = source.take(f"{old}.normalization.{part}")
        if f"{old}.normalization.num_batches_tracked" in source:
            target[f"{norm}.num_batches_tracked"] = source.take(f"{old}.normalization.num_batches_tracked")

    block(_STEM, "conv1", "bn1")
    for stage in range(count(state, "encoder.stages.")):
        start = f"encoder.stages.{stage}.layers."
        for number in range(count(state, start)):
            old, new = f"{start}{number}.", f"layer{stage + 1}.{number}."
            for index in range(count(state, f"{old}layer.")):
                block(f"{old}layer.{index}", f"{new}conv{index + 1}", f"{new}bn{index + 1}")
            if f"{old}shortcut.convolution.weight" in source:
                block(f"{old}shortcut", f"{new}downsample.0", f"{new}downsample.1")
    source.drop(r"classifier\..*")
    arch, options = resnet_architecture({key: tuple(value.shape) for key, value in target.items()})
    notes = ["embedding: the mean of the last stage (pooler_output)"]
    if not config:
        notes.append("strides in the 3x3 convolutions: no config.json says downsample_in_bottleneck")
    return source.finish(arch, options, target, notes=notes, preprocess={"size": 224, **IMAGENET}, key_prefix="")


LAYOUT = Layout(
    name="hf-resnet",
    source="huggingface/transformers: src/transformers/models/resnet/modeling_resnet.py",
    title="Hugging Face ResNet",
    anchors=(f"{_STEM}.convolution.weight",),
    recognise=recognise,
    convert=convert,
    gives="the mean of the last stage",
    checked="transformers",
    model_types=("resnet",),
)
