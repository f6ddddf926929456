"""SimCLR v2 by the PyTorch converter of its TensorFlow weights, without and with selective kernels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import Source, count, joined, resnet_architecture

if TYPE_CHECKING:
    from torch import Tensor

_FIRST = "net.1.blocks.0."
_RULES = (
    (re.compile(r"net\.0\.0\.(.+)"), r"conv1.\1"),
    (re.compile(r"net\.0\.1\.0\.(.+)"), r"bn1.\1"),
    (re.compile(r"net\.(\d)\.blocks\.0\.projection\.shortcut\.(.+)"), r"layer\1.0.downsample.0.\2"),
    (re.compile(r"net\.(\d)\.blocks\.0\.projection\.bn\.0\.(.+)"), r"layer\1.0.downsample.1.\2"),
)


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    if f"{_FIRST}projection.bn.0.weight" not in keys or "net.0.0.weight" not in keys:
        return None
    return {"has_kernels": f"{_FIRST}net.2.main_conv.0.weight" in keys}


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    notes = ["embedding: the mean of the last stage", "images in 0 to 1, without mean and std, as SimCLR has them"]
    preprocess = {"size": 224, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    source.drop(r"fc\..*")
    if facts["has_kernels"]:
        target = {key: source.take(key) for key in state if key.startswith("net.")}  # the names are the network's own
        depths = [count(state, f"net.{stage}.blocks.") for stage in range(1, 5)]
        options: dict[str, Any] = {
            "depths": joined(depths),
            "channels": source.shape("net.0.4.weight")[0],
            "mixing": joined(
                source.shape(f"net.{stage}.blocks.0.net.2.mixing_conv.0.weight")[0] for stage in range(1, 5)
            ),
        }
        return source.finish("sk_resnet", options, target, notes=notes, preprocess=preprocess, key_prefix="")
    target = {}
    for key in state:
        for rule, new in _RULES:
            if rule.fullmatch(key):
                target[rule.sub(new, key)] = source.take(key)
        inner = re.fullmatch(r"net\.(\d)\.blocks\.(\d+)\.net\.(\d)\.(.+)", key)
        if inner:
            stage, number, place, rest = inner.groups()
            part = "bn" if int(place) % 2 else "conv"
            name = rest.removeprefix("0.") if part == "bn" else rest
            target[f"layer{stage}.{number}.{part}{int(place) // 2 + 1}.{name}"] = source.take(key)
    arch, full = resnet_architecture({key: tuple(value.shape) for key, value in target.items()})
    return source.finish(arch, full, target, notes=notes, preprocess=preprocess, key_prefix="")


LAYOUT = Layout(
    name="simclr-v2",
    source="Separius/SimCLRv2-Pytorch: convert.py; facebookresearch/vissl: vissl/models/trunks/resnext_selective_kernels.py",
    title="SimCLR v2, converted",
    anchors=("net.0.0.weight",),
    recognise=recognise,
    convert=convert,
    gives="the mean of the last stage; images in 0 to 1 without mean and std",
    checked="the network written anew from its papers",
)
