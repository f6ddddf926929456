"""Folders of published networks: config.json decides the architecture, the processor's file the preprocessing.

``save_pretrained`` of transformers, timm's and OpenCLIP's folders on the Hugging Face hub, and a folder with one weights
file. Weights in several files ("shards") are put together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virb.convert.layouts import all_layouts
from virb.convert.read import read_checkpoint
from virb.convert.tables import listed
from virb.errors import CheckpointError

CONFIGS = ("config.json", "open_clip_config.json", "preprocessor_config.json")
# In the order of preference: what cannot run code goes first.
WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".tar", ".ckpt", ".torch", ".pkl")


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        content: the tensors of all its weights files.
        config: config.json, or open_clip_config.json; empty if there is neither.
        arch: the architecture that a config of timm's names; None elsewhere.
        preprocess: ``size``, ``mean`` and ``std`` as its processor has them, whichever it says.
        notes: how its preprocessing differs from ours, for the report.
    """

    content: Mapping[str, Any]
    config: Mapping[str, Any]
    arch: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_inside_folder(path: Path) -> bool:
    """Whether a file is the weights of such a folder, whose configuration then decides as if the folder were named."""
    return path.name in WEIGHTS and any((path.parent / name).is_file() for name in CONFIGS[:2])


def read_folder(path: Path, weights: str | None = None) -> Folder:
    """Read the network that a folder holds; ``weights`` names the file to take where it has several.

    Raises:
        CheckpointError: it holds none that is known, or a file of it is missing or damaged.
    """
    config = _json(path / "config.json")
    open_clip = _json(path / "open_clip_config.json")
    arch = None
    preprocess: dict[str, Any] = {}
    notes: list[str] = []
    if "model_cfg" in open_clip:
        config = open_clip
        preprocess, notes = _of_open_clip(open_clip.get("preprocess_cfg") or {}, open_clip["model_cfg"])
        tower = (open_clip["model_cfg"].get("vision_cfg") or {}).get("timm_model_name")
        if tower:
            arch = f"timm:{tower}"
            notes.append("embedding: what timm's network pools, before OpenCLIP's projection if it has one")
    elif "architecture" in config and "model_type" not in config:
        arch = f"timm:{config['architecture']}"
        preprocess, notes = _of_timm(config.get("pretrained_cfg") or config)
    elif config:
        check_model_type(config, str(path))
        processor = _json(path / "preprocessor_config.json")
        preprocess, notes = _of_processor(processor, str(path / "preprocessor_config.json"))
    content = read_checkpoint(path / weights) if weights else _weights(path)
    return Folder(content, config, arch, preprocess, tuple(notes))


def check_config(path: Path) -> None:
    """Refuse a folder whose config.json is of another network; one of timm's or OpenCLIP's has a word of its own for it.

    Raises:
        CheckpointError: as :func:`check_model_type` says.
    """
    config = _json(path / "config.json")
    if config and "architecture" not in config and not (path / "open_clip_config.json").is_file():
        check_model_type(config, str(path))


def check_model_type(config: Mapping[str, Any], what: str) -> None:
    """Refuse, before any weights are read, a config.json of a network that is no image encoder or that no layout is of.

    Raises:
        CheckpointError: it is one.
    """
    named = config.get("model_type")
    known = sorted({kind for layout in all_layouts() for kind in layout.model_types})
    if named in known:
        return
    classes = ", ".join(map(str, config.get("architectures") or ())) or "of no named class"
    is_language = "vocab_size" in config and not any(key.startswith(("vision", "image", "patch")) for key in config)
    if named is None:
        reason = "its config.json says neither model_type nor architecture"
    elif is_language:
        reason = f"it holds a language model (model_type {named!r}, {classes}), and virb needs an image encoder"
    else:
        reason = f"it holds a {named!r} ({classes}), for which virb has no layout"
    raise CheckpointError(
        f"{what}: {reason}. Known are {', '.join(known)}. Another network goes in as FILE:arch=timm:NAME if its "
        "tensors are a timm model's, or through virb.wrap."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Copy or download it again.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}; expected an object.")
    return found


def _weights(path: Path) -> Mapping[str, Any]:
    for name in INDICES:
        if (path / name).is_file() and not (path / name.removesuffix(".index.json")).is_file():
            return _shards(path, name)
    for name in WEIGHTS:
        if (path / name).is_file():
            return read_checkpoint(path / name)
    found = sorted(entry.name for entry in path.iterdir() if entry.name.endswith(_SUFFIXES) and entry.is_file())
    if len(found) == 1:
        return read_checkpoint(path / found[0])
    if any("-of-" in name for name in found):
        raise CheckpointError(
            f"{path} holds parts of weights ({listed(found)}) without their index, {' or '.join(INDICES)}. Copy it too."
        )
    held = f"several weights files ({listed(found)}): name one of them" if found else f"none of {', '.join(WEIGHTS)}"
    raise CheckpointError(f"{path} is a folder with {held}.")


def _shards(path: Path, index: str) -> Mapping[str, Any]:
    names = _json(path / index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError(f"{path / index} has no weight_map from tensors to files.")
    files = sorted(set(names.values()))
    missing = [name for name in files if "/" in name or not (path / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{path} lacks {listed(missing)} of its {len(files)} weights files, which {index} names. Copy them too."
        )
    tensors: dict[str, Any] = {}
    for name in files:
        tensors.update(read_checkpoint(path / name))
    lost = [key for key in names if key not in tensors]
    if lost:
        raise CheckpointError(f"{path}: {index} names tensors that its files do not hold: {listed(lost)}.")
    return tensors


# --------------------------------------------------------------------------------------------------- preprocessing

_RESAMPLE = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}


def _of_processor(said: Mapping[str, Any], what: str) -> tuple[dict[str, Any], list[str]]:
    """Read a preprocessor_config.json of transformers."""
    if not said:
        return {}, ["no preprocessor_config.json: its size, mean and std are the family's published ones"]
    result: dict[str, Any] = {}
    edge = _side(said.get("size"))
    crop = _side(said.get("crop_size")) if said.get("do_center_crop", "crop_size" in said) else None
    if crop or edge:
        result["size"] = crop or edge
    factor = float(said.get("rescale_factor", 1 / 255)) * 255 if said.get("do_rescale", True) else 255.0
    if said.get("do_normalize", True):
        for key in ("mean", "std"):
            values = said.get(f"image_{key}")
            if values is not None:
                result[key] = tuple(float(value) / factor for value in _three(values, what))
    else:
        result |= {"mean": (0.0, 0.0, 0.0), "std": (1 / factor,) * 3}
    notes = []
    how = _RESAMPLE.get(int(said.get("resample", 2)), "another")
    fraction = said.get("crop_pct")
    if crop and (edge != crop or (isinstance(said.get("size"), Mapping) and "shortest_edge" in said["size"])):
        notes.append(f"its processor resizes the shortest side to {edge} ({how}) and crops {crop}")
    elif fraction:
        notes.append(f"its processor resizes to size / {fraction} ({how}) and crops")
    elif how != "bilinear":
        notes.append(f"its processor resizes {how}")
    if notes:
        notes[0] += "; virb resizes both sides bilinear and crops nothing"
    return result, notes


def _side(size: Any) -> int | None:
    if isinstance(size, Mapping):
        return next((int(size[key]) for key in ("height", "shortest_edge", "width") if size.get(key)), None)
    if isinstance(size, list | tuple) and size:
        return int(size[0])
    return int(size) if size else None


def _three(values: Any, what: str) -> tuple[float, ...]:
    if isinstance(values, int | float):
        return (float(values),) * 3
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise CheckpointError(f"{what}: the mean or std is {values!r}; expected three numbers.")
    return tuple(float(value) for value in values)


def _of_timm(said: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read the pretrained_cfg of timm."""
    result: dict[str, Any] = {}
    if said.get("input_size"):
        result["size"] = int(said["input_size"][-1])
    for key in ("mean", "std"):
        if said.get(key):
            result[key] = _three(said[key], "config.json")
    fraction, how = said.get("crop_pct"), said.get("interpolation", "bicubic")
    note = f"its configuration resizes {how} and crops {fraction} of it; virb resizes both sides bilinear and crops nothing"
    return result, [note] if fraction else []


def _of_open_clip(said: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Read the preprocess_cfg of OpenCLIP."""
    size = said.get("size") or (model.get("vision_cfg") or {}).get("image_size")
    result: dict[str, Any] = {"size": _side(size)} if size else {}
    for key in ("mean", "std"):
        if said.get(key):
            result[key] = _three(said[key], "open_clip_config.json")
    how, mode = said.get("interpolation", "bicubic"), said.get("resize_mode", "shortest")
    return result, [f"its preprocessing resizes {how} (resize_mode {mode}); virb resizes both sides bilinear"]
