"""OpenAI's CLIP and OpenCLIP with their modified ResNet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, Facts, Layout, LayoutReport, Shapes
from virb.convert.layouts.clip import TEXT
from virb.convert.source import CLIP, Source, count, joined, open_clip_model, square

if TYPE_CHECKING:
    from torch import Tensor

_TOWER = "visual."
_ANCHOR = "attnpool.positional_embedding"


def recognise(keys: Collection[str], shapes: Shapes) -> Facts | None:
    tower = _TOWER if f"{_TOWER}{_ANCHOR}" in keys else ""
    is_one = f"{tower}{_ANCHOR}" in keys and f"{tower}layer1.0.conv1.weight" in keys and f"{tower}conv3.weight" in keys
    return {"tower": tower} if is_one else None


def convert(state: Mapping[str, Tensor], facts: Facts) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
    tower, source = facts["tower"], Source(state)
    if tower:
        source.drop(*TEXT)
    else:
        source.drop(r"input_resolution|context_length|vocab_size")
    target: dict[str, Tensor] = {}
    for key in state:
        if key.startswith(tower) and not key.startswith(("input_", "context_", "vocab_")):
            target[key.removeprefix(tower)] = source.take(key)  # the names are the network's own
    n_places, dim = source.shape(f"{tower}{_ANCHOR}")
    depths = [count(state, f"{tower}layer{number}.") for number in range(1, 5)]
    said: Mapping[str, Any] = open_clip_model(facts).get("vision_cfg") or {}
    options: dict[str, Any] = {
        "depths": joined(depths),
        "channels": source.shape(f"{tower}conv3.weight")[0],
        "heads": dim // int(said.get("head_width", 64)),
        "image_size": square(n_places - 1, "the position embedding") * 32,
        "project": source.shape(f"{tower}attnpool.c_proj.weight")[0],
    }
    notes = ["embedding: encode_image, the attention pooling's output"]
    preprocess = {"size": options["image_size"], **CLIP}
    return source.finish("clip_resnet", options, target, notes=notes, preprocess=preprocess, key_prefix="")


LAYOUT = Layout(
    name="clip-resnet",
    source="openai/CLIP: clip/model.py; mlfoundations/open_clip: src/open_clip/modified_resnet.py",
    title="OpenAI CLIP and OpenCLIP ResNet",
    anchors=(f"{_TOWER}{_ANCHOR}", _ANCHOR),
    recognise=recognise,
    convert=convert,
    gives="encode_image, the attention pooling",
    checked="open_clip",
)
