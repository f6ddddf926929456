"""The door for encoders: any name or file -> a frozen encoder, or a refusal that says why."""

from __future__ import annotations

import difflib
import glob
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virb.contracts.encoder import MatchReport
from virb.contracts.parts import check_names
from virb.convert import hub, published, zoo
from virb.convert.by_timm import match_by_timm
from virb.convert.code import load_code
from virb.convert.declared import take_declared, with_role
from virb.convert.detect import assumed, detect_architecture
from virb.convert.folder import Folder, is_inside_folder, read_folder
from virb.convert.match import checked_weight, match_state
from virb.convert.named import load_timm, load_torchvision, make_pixels, make_random
from virb.convert.options import (
    COMMON,
    PREPROCESS,
    Found,
    known_options,
    published_preprocess,
    take_preprocess,
    take_read_off,
)
from virb.convert.read import FORMAT, read_checkpoint
from virb.convert.write import save_encoder
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import blank_backbone, canonical_architecture
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.fused import FusedEncoder
from virb.networks.identity import state_sha256
from virb.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from virb.networks.projections import ProjectedBackbone
from virb.networks.read_off import ReadOff
from virb.networks.spec import safe_name, split_code, split_fused, split_source
from virb.networks.wrap import wrap

__all__ = [
    "FORMAT",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "FrozenEncoder",
    "MatchReport",
    "Preprocess",
    "detect_architecture",
    "expand_sources",
    "load_encoder",
    "match_state",
    "read_checkpoint",
    "reference_encoders",
    "safe_name",
    "save_encoder",
    "split_source",
    "state_sha256",
]

_SUFFIXES = (".pt", ".pth", ".tar", ".torch", ".pkl", ".safetensors", ".ckpt", ".bin")


_SHARD = re.compile(r"-\d{5}-of-\d{5}\.(safetensors|bin)$")


def _stem(path: Path) -> str:
    name = path.name
    while name.lower().endswith(_SUFFIXES) and Path(name).stem:
        name = Path(name).stem
    return name


def reference_encoders() -> dict[str, Path]:
    """Return the encoder files that come with virb, by name."""
    import virb.encoders

    return {path.stem: path for folder in virb.encoders.__path__ for path in sorted(Path(folder).glob("*.pt"))}


_KINDS = ("random:", "pixels", "timm:", "torchvision:", zoo.PREFIX, hub.PREFIX)


def expand_sources(sources: Any) -> list[Any]:
    """Return a list of encoders' sources: one may stand alone, modules are wrapped, and patterns are replaced by what they
    match, with their options: of the zoo's names (``zoo:swav-*``), and of files (``encoders/*.pt``) where no shell did.

    Raises:
        UsageError: a pattern matches nothing.
    """
    found: list[Any] = []
    is_alone = isinstance(sources, str | os.PathLike | FrozenEncoder | nn.Module) or not hasattr(sources, "__iter__")
    for source in [sources] if is_alone else sources:
        if not isinstance(source, (str, os.PathLike)):
            found.append(source if isinstance(source, FrozenEncoder) else wrap(source))
            continue
        text = os.fspath(source)
        if len(split_fused(text)) > 1:
            found.append(text)
            continue
        base = text if Path(text).exists() else split_source(text)[0]
        options = text[len(base) :]
        if base.startswith(zoo.PREFIX) and zoo.is_pattern(base):
            found += [f"{zoo.PREFIX}{name}{options}" for name in zoo.matching(base.removeprefix(zoo.PREFIX))]
        elif glob.has_magic(base) and ":" not in Path(base).name and not Path(base).exists():
            paths = sorted(path for path in glob.glob(os.path.expanduser(base)) if Path(path).is_file())
            if not paths:
                raise UsageError(f"The pattern {base} matches no file. Is it the right folder?")
            found += [f"{path}{options}" for path in paths]
        else:
            found.append(source)
    return found


def load_encoder(
    source: str | os.PathLike[str] | nn.Module,
    *,
    device: torch.device | str | None = None,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    optimize: bool = True,
    **options: Any,
) -> FrozenEncoder:
    """Return the frozen encoder that ``source`` names. Nothing of a file is ever executed.

    ================================  ============================================================================
    ``mine.pt``                       a virb encoder file
    ``mine.pt:features=projection``   its embedding as its pretraining's loss saw it, g(h) in place of h; no pyramid
    ``mine.pth.tar`` (.pth, .torch,   a published checkpoint: the architecture is read off the tensors, or given as
    .ckpt, .safetensors, .pkl)        ``mine.pth.tar:arch=resnet50``; ``prefix=`` chooses among several networks, and
                                      ``ema=yes`` or ``no`` between averaged and raw weights
    ``folder/``                       a network as transformers, timm or OpenCLIP publish it: config.json decides
    ``hf:NAME``, ``hf:FOLDER``        the same from the Hugging Face hub, or from a folder
    ``supervised``                    an encoder that comes with virb
    ``zoo:moco-v2-imagenet-800``      a published encoder of encoders/zoo.yaml, fetched when it is first named
    ``random:resnet18:seed=1``        random weights, equal wherever the seed is; BatchNorm as initialised
    ``pixels:8``                      the image itself, averaged to 8 x 8
    ``timm:NAME``                     pretrained weights through the library
    ``torchvision:NAME``              likewise; ``weights=IMAGENET1K_V1`` chooses among several
    ``net.py:make``                   the network that the function ``make`` of the file returns: code, which is run
    ``a.pt+timm:NAME``                the embeddings of several side by side, each standardised where a probe reads it
    ================================  ============================================================================

    Options follow the name as ``:key=value,key=value`` or come as keyword arguments: ``size``, ``mean``, ``std`` (three
    numbers as ``0.5/0.5/0.5``) change the preprocessing, ``name`` the name, and the architecture's own (``width``,
    ``stem``, ``image_size``, ``heads``, ``grid``, ...) say which network. ``pool`` (cls, mean, cls+mean, attention) and ``layers``
    (last, last4, or a block's number) say what is read off a transformer. Preprocessing belongs to the weights: a library's
    or a folder's own where it is known, else 224 pixels and ImageNet's mean and std, and the report says which. ``role``,
    ``family``, ``repeat``, ``method`` and ``dataset`` declare what the encoder is in comparisons, and do not change its
    name. A module is wrapped as :func:`virb.wrap` does.

    Raises:
        CheckpointError: there is no such encoder, or its file is not exactly that architecture.
        UsageError: an option is unknown or has an impossible value.
    """
    if isinstance(source, nn.Module):
        return wrap(source, name=name, device=device, **options).to(dtype=dtype)
    text = os.fspath(source)
    if len(members := split_fused(text)) > 1:
        if options:
            raise UsageError(f"{text}: the options {', '.join(options)} are of one encoder; write them after its name.")
        loaded = [load_encoder(member, device=device, dtype=dtype, optimize=optimize) for member in members]
        return FusedEncoder(loaded, name=name, source=text)
    base, asked = (text, {}) if Path(text).is_file() else split_source(text)
    asked = {**asked, **{key: value for key, value in options.items() if value is not None}}
    name = asked.pop("name", None) if name is None else name
    declared = take_declared(asked, text)
    options = dict(asked)
    read_off = take_read_off(options)
    shown = base
    made_by = split_code(base)
    if made_by is not None and not Path(base).exists():
        shown = f"{Path(made_by[0]).stem}-{made_by[1]}"
        found = load_code(*made_by, options)
    elif Path(base).is_file() or not base.startswith(_KINDS):
        path = _find_file(base)
        shown = _stem(path)
        found = _load_file(path, options)
    elif base.startswith(hub.PREFIX):
        found = _load_file(hub.fetch(base.removeprefix(hub.PREFIX)), options)
        shown = base.removeprefix(hub.PREFIX).rstrip("/").rpartition("/")[2]
    elif base.startswith("random:"):
        found = make_random(base.partition(":")[2], options)
    elif base.startswith("pixels"):
        found = make_pixels(base, options)
        shown = f"pixels-{found.arch_options['grid']}"
        asked.pop("grid", None)
    elif base.startswith(zoo.PREFIX):
        found = _load_published(base, options)
        shown = base.removeprefix(zoo.PREFIX)
    elif base.startswith("timm:"):
        found = load_timm(base, options)
    else:
        found = load_torchvision(base, options)
    if read_off:
        found.backbone = ReadOff(found.backbone, **read_off)
    if name is None:
        # What changes the outcome changes the name, or two encoders would share a folder of results.
        silent = ["arch"] if Path(base).is_file() else []
        silent += ["features"] if asked.get("features") == "embedding" else []
        name = "-".join(
            [shown, *(f"{key}{_plain(value)}" for key, value in sorted(asked.items()) if key not in silent)]
        )
    return FrozenEncoder(
        found.backbone,
        name=name,
        arch=found.arch,
        arch_options=found.arch_options,
        preprocess=found.preprocess,
        meta=with_role({**found.meta, **declared}, found.backbone),
        device=device,
        dtype=dtype,
        optimize=optimize,
        source=text,
        report=found.report,
    )


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _find_file(base: str) -> Path:
    path = Path(base)
    if path.exists():
        return path
    known = reference_encoders()
    if base in known:
        return known[base]
    if path.name != base or path.suffix in _SUFFIXES:
        return path  # read_checkpoint says what is wrong with it
    choices = [*known, *(f"{kind}..." for kind in ("random:", "pixels:", "timm:", "torchvision:", zoo.PREFIX))]
    close = difflib.get_close_matches(base, [*known, *zoo.published()], 3, 0.5)
    close = [other if other in known else f"{zoo.PREFIX}{other}" for other in close]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise CheckpointError(
        f"There is no file and no encoder called {base!r}.{hint} Expected a path to a checkpoint, or one of: "
        f"{', '.join(choices)}."
    )


def _load_file(path: Path, options: dict[str, Any]) -> Found:
    if path.is_dir() or is_inside_folder(path):
        folder = read_folder(path if path.is_dir() else path.parent, path.name if path.is_file() else None)
        if folder.arch is not None:
            options.setdefault("arch", folder.arch)
    elif _SHARD.search(path.name):
        raise CheckpointError(f"{path} is one of several files of one network. Name the folder that they are in.")
    else:
        folder = Folder(read_checkpoint(path), {})
    content = folder.content
    if "format" in content:
        return _load_own(path, content, options)
    if "features" in options:
        raise UsageError(f"{path}: only virb's own encoder files, which virb pretrain writes, take features=.")
    prefix, ema = options.pop("prefix", None), options.pop("ema", None)
    if "arch" not in options:
        own = {key: value for key, value in options.items() if key not in COMMON}
        converted = published.convert(content, config=folder.config, asked=own, prefix=prefix, ema=ema, what=str(path))
        if converted is not None:
            return _converted(converted, options, path, folder)
    notes: list[str] = []
    if "arch" in options:
        arch, full = canonical_architecture(str(options.pop("arch")))
    else:
        arch, full = detect_architecture(content, prefix=prefix, what=str(path))
        if arch.startswith("timm:"):
            notes.append(f"exactly timm's {arch.removeprefix('timm:')}, the only one of its models with these tensors")
    check_names((*known_options(arch), "arch", "prefix", "ema"), options, str(path))
    asked = {key: options.pop(key) for key in PREPROCESS if key in options}
    arch, full = canonical_architecture(arch, {**full, **options})
    backbone = blank_backbone(arch, full)
    default, said = published_preprocess(backbone)
    if folder.preprocess:
        default, said = replace(default, **folder.preprocess), "images prepared as the folder says"
    preprocess = take_preprocess(asked, default)
    try:
        state, report = match_state(content, backbone, prefix=prefix, ema=ema, what=str(path))
        notes += [*assumed(arch, full), *folder.notes]
    except CheckpointError as refused:
        if not arch.startswith("timm:"):
            raise
        name = arch.removeprefix("timm:")
        try:
            converted_by_timm = match_by_timm(content, backbone, name=name, prefix=prefix, ema=ema, what=str(path))
        except CheckpointError as error:
            raise CheckpointError(f"{refused} {error}") from error
        if converted_by_timm is None:
            raise
        state, report = converted_by_timm
    if preprocess == default:
        notes.append(said)
    report = replace(report, notes=(*report.notes, *notes))
    backbone.load_state_dict(state)
    return Found(backbone, arch, full, preprocess, {}, report)


def _converted(converted: published.Converted, options: dict[str, Any], path: Path, folder: Folder) -> Found:
    """Return a published network with the preprocessing that its folder says, else its release."""
    check_names((*known_options(converted.arch), "arch", "prefix", "ema"), options, str(path))
    default = Preprocess(**{**converted.report.preprocess, **folder.preprocess})
    converted.backbone.load_state_dict(converted.state)
    match = converted.match
    notes = [*match.notes, *assumed(converted.arch, converted.options), *folder.notes]
    if not folder.preprocess:
        settings = "/".join(f"{value:g}" for value in (*default.mean, *default.std))
        notes.append(
            f"images of {default.size} px, mean and std {settings}, as most of these releases have them: the file does not say how"
        )
    match = replace(match, notes=tuple(notes))
    return Found(converted.backbone, converted.arch, converted.options, take_preprocess(options, default), {}, match)


def _load_own(path: Path, content: Mapping[str, Any], options: dict[str, Any]) -> Found:
    if content["format"] != FORMAT:
        raise CheckpointError(f"{path} has the format {content['format']!r}; this virb reads {FORMAT!r}. Update virb.")
    kinds = {"arch": str, "arch_options": Mapping, "state_dict": Mapping, "preprocess": Mapping, "meta": Mapping}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise CheckpointError(
                f"{path} says it is {FORMAT!r} but has no proper {key!r}. Write it with save_encoder."
            )
    check_names(("arch", "features", *COMMON), options, f"{path} (a virb encoder file)")
    try:
        arch, full = canonical_architecture(content["arch"], content["arch_options"])
        settings = content["preprocess"]
        stored = Preprocess(int(settings["size"]), tuple(settings["mean"]), tuple(settings["std"]))
        backbone = blank_backbone(arch, full)
    except (UsageError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if "arch" in options and canonical_architecture(str(options["arch"]))[0] != arch:
        raise CheckpointError(f"{path} holds {backbone.label}, not {options['arch']}.")
    options.pop("arch", None)
    preprocess = take_preprocess(options, stored)
    state: Mapping[str, Any] = content["state_dict"]
    if backbone.state_dict():
        state, _ = match_state({"state_dict": state}, backbone, what=f"{path} (which says it holds {backbone.label})")
        backbone.load_state_dict(state)
    meta = _plain_meta(path, content["meta"])
    asked = options.pop("features", "embedding")
    if asked not in _FEATURES:
        raise UsageError(f"{path}: features={asked}; expected {' or '.join(_FEATURES)}.")
    if asked == "projection":
        return Found(_projected(path, backbone, content), arch, full, preprocess, {**meta, "features": asked})
    return Found(backbone, arch, full, preprocess, meta)


def _plain_meta(path: Path, meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what a file tells about its encoder, if it is what every record can hold."""
    try:
        return dict(json.loads(json.dumps(dict(meta), allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: its meta holds something else than plain values ({error}), which no record could keep. Write it "
            "again with save_encoder, leaving out what is not a number, a text, or a list or dict of them."
        ) from error


_FEATURES = ("embedding", "projection")


def _projected(path: Path, backbone: Backbone, content: Mapping[str, Any]) -> Backbone:
    """The network of an encoder file with the projection head that the file keeps of its pretraining."""
    meta, stored = content["meta"], content.get("projection")
    if stored is None:
        if meta.get("head") == "identity":
            raise CheckpointError(
                f"{path} was pretrained without a projection head (head=identity): its loss saw the embedding itself. "
                "Leave features=projection out."
            )
        raise CheckpointError(
            f"{path} keeps no projection head: its method ({meta.get('method', 'unknown')}) has none, or an older virb "
            "wrote the file. Leave features=projection out, or pretrain again, which keeps it."
        )
    try:
        projected = ProjectedBackbone(backbone, stored["layers"])
        projected.projection.load_state_dict(stored["state_dict"])
        for key, value in projected.projection.state_dict().items():
            checked_weight(stored["state_dict"][key], value, f"{path}: the projection's tensor {key}")
    except (UsageError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: its projection head cannot be read: {error}") from error
    return projected


def _load_published(base: str, options: dict[str, Any]) -> Found:
    entry = zoo.find(base.removeprefix(zoo.PREFIX))
    path = zoo.fetch(entry)
    found = _load_file(path, {"arch": entry.arch, **entry.options, **options})
    found.meta = {**entry.meta, "title": entry.title, "source": entry.url}
    return found
