"""Writes encoder files of the format ``virb-encoder/1``."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from virb.convert.read import FORMAT
from virb.errors import CheckpointError, UsageError, VirbError
from virb.networks import projections
from virb.networks.backbones import blank_backbone, canonical_architecture
from virb.networks.identity import state_sha256
from virb.system.files import atomic_write


def save_encoder(
    path: str | os.PathLike[str],
    *,
    arch: str,
    arch_options: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    preprocess: Any,
    meta: Mapping[str, Any],
    projection: nn.Module | None = None,
) -> str:
    """Write an encoder file (format ``virb-encoder/1``) whole or not at all, and return its sha256 (by content).

    ``preprocess`` has ``size``, ``mean`` and ``std``, as a mapping or a dataclass; ``meta`` holds what JSON can hold.
    ``projection`` is the head that its pretraining put between embedding and loss, if that is more than an identity;
    the file keeps it as ``{"layers": [...], "state_dict": {...}}``, its layers as ``projections.describe`` writes them.

    Raises:
        UsageError: the state is not that architecture's, meta holds something else than plain values, or the projection
            is no chain of layers from the architecture's dimension.
        CheckpointError: the file cannot be written.
    """
    arch, options = canonical_architecture(arch, arch_options)
    backbone = blank_backbone(arch, options)
    state = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state_dict.items()}
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        raise UsageError(f"Cannot save an encoder as {arch}: {error}") from error
    settings = (
        dataclasses.asdict(preprocess)
        if dataclasses.is_dataclass(preprocess) and not isinstance(preprocess, type)
        else dict(preprocess)
    )
    try:
        plain_meta = json.loads(json.dumps(dict(meta), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise UsageError(f"The meta of an encoder file holds plain values only (as JSON does): {error}.") from error
    content = {
        "format": FORMAT,
        "arch": arch,
        "arch_options": options,
        "state_dict": state,
        "preprocess": {
            "size": int(settings["size"]),
            "mean": [float(value) for value in settings["mean"]],
            "std": [float(value) for value in settings["std"]],
        },
        "meta": plain_meta,
    }
    if projection is not None and (layers := projections.describe(projection)):
        head = projections.ProjectedBackbone(backbone, layers).projection
        given = projection if isinstance(projection, nn.Sequential) else nn.Sequential(projection)
        head.load_state_dict(given.state_dict())  # a copy on the CPU
        content["projection"] = {"layers": layers, "state_dict": dict(head.state_dict())}
    _write_whole(Path(path), content)
    return state_sha256(arch, options, state)


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    try:
        buffer = io.BytesIO()  # torch's own writer, met by a full disk, raises what it likes or ends the process
        torch.save(content, buffer)
        with atomic_write(path) as file:
            file.write(buffer.getbuffer())
    except VirbError as error:
        cause = error.__cause__
        reason = (cause.strerror or cause) if isinstance(cause, OSError) else error
        raise CheckpointError(f"Cannot write the encoder {path}: {reason}.") from error
