"""ConvNeXt, ConvNeXt V2 and DINOv3's ConvNeXt as released."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.source import IMAGENET, Source, count, joined

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "downsample_layers.0.0"
_BLOCK = {"dwconv": "conv_dw", "norm": "norm", "pwconv1": "mlp.fc1", "pwconv2": "mlp.fc2"}


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    return {} if f"{_STEM}.weight" in keys and "stages.0.0.dwconv.weight" in keys else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    source = Source(state)
    target: dict[str, Tensor] = {}
    source.move(target, {_STEM: "stem.0", "downsample_layers.0.1": "stem.1", "norm": "head.norm"})
    is_second = "stages.0.0.grn.gamma" in source
    has_scale = "stages.0.0.gamma" in source
    dims, depths = [], []
    for stage in range(count(state, "stages.")):
        if stage:
            moved = {f"{part}": f"downsample.{part}" for part in (0, 1)}
            source.move(target, moved, before=f"downsample_layers.{stage}.", after=f"stages.{stage}.")
        names = {**_BLOCK, **({"gamma": "gamma"} if has_scale else {})}
        depths.append(count(state, f"stages.{stage}."))
        dims.append(source.shape(f"stages.{stage}.0.dwconv.weight")[0])
        for number in range(depths[-1]):
            old, new = f"stages.{stage}.{number}.", f"stages.{stage}.blocks.{number}."
            source.move(target, names, before=old, after=new)
            if is_second:
                for theirs, ours in (("gamma", "weight"), ("beta", "bias")):
                    target[f"{new}mlp.grn.{ours}"] = source.take(f"{old}grn.{theirs}").flatten()
    notes = ["embedding: the norm of the last stage's mean"]
    # DINOv3's keeps the norm of the patch tokens beside it, once more under the name norms.3.
    for part in ("weight", "bias"):
        if f"norms.3.{part}" in source:
            source.take(f"norms.3.{part}")
    source.drop(r"(head|mask_token)(\..*)?", r"mask_token")
    options: dict[str, Any] = {
        "dims": joined(dims),
        "depths": joined(depths),
        "patch": source.shape(f"{_STEM}.weight")[2],
        "version": 2 if is_second else 1,
        "layer_scale": int(has_scale),
    }
    return source.finish("convnext", options, target, notes=notes, preprocess={"size": 224, **IMAGENET})


LAYOUT = Layout(
    name="convnext",
    source=(
        "facebookresearch/ConvNeXt: models/convnext.py; facebookresearch/ConvNeXt-V2: models/convnextv2.py; "
        "facebookresearch/dinov3: dinov3/models/convnext.py"
    ),
    title="ConvNeXt, ConvNeXt V2, DINOv3 ConvNeXt",
    anchors=(f"{_STEM}.weight",),
    recognise=recognise,
    convert=convert,
    gives="the norm of the last stage's mean",
    checked="timm",
)
