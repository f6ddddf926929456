"""ResNets converted for detectron2: a pickle of numpy arrays, read without executing anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, resnet_architecture

if TYPE_CHECKING:
    from torch import Tensor

_ANCHOR = "stem.conv1.norm.weight"
_RULES = (
    (re.compile(r"stem\.conv1\.norm\.(.+)"), r"bn1.\1"),
    (re.compile(r"stem\.conv1\.(.+)"), r"conv1.\1"),
    (re.compile(r"res(\d)\.(\d+)\.conv(\d)\.norm\.(.+)"), r"layer<\1>.\2.bn\3.\4"),
    (re.compile(r"res(\d)\.(\d+)\.conv(\d)\.(.+)"), r"layer<\1>.\2.conv\3.\4"),
    (re.compile(r"res(\d)\.0\.shortcut\.norm\.(.+)"), r"layer<\1>.0.downsample.1.\2"),
    (re.compile(r"res(\d)\.0\.shortcut\.(.+)"), r"layer<\1>.0.downsample.0.\2"),
)


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    return {} if "stem.conv1.weight" in keys and "res2.0.conv1.weight" in keys else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    target: dict[str, Tensor] = {}
    for key in state:
        for rule, new in _RULES:
            if rule.fullmatch(key):
                name = rule.sub(new, key)
                # detectron2 counts stages by their strides: res2 is layer1.
                name = re.sub(r"<(\d)>", lambda match: str(int(match[1]) - 1), name)
                target[name] = source.take(key)
                break
    source.drop(r"stem\.fc\..*")
    arch, options = resnet_architecture({key: tuple(value.shape) for key, value in target.items()})
    notes = [
        "embedding: the mean of the last stage",
        "strides in the 3x3 convolutions (STRIDE_IN_1X1 False), as MoCo's and torchvision's conversions have them",
    ]
    return source.finish(arch, options, target, notes=notes, preprocess={"size": 224, **IMAGENET}, key_prefix="")


LAYOUT = Layout(
    name="detectron2",
    source="facebookresearch/moco: detection/convert-pretrain-to-detectron2.py",
    title="detectron2 ResNet (.pkl)",
    anchors=(_ANCHOR,),
    recognise=recognise,
    convert=convert,
    gives="the mean of the last stage, strides in the 3x3 convolutions",
    checked="torchvision",
)
