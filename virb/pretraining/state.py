"""The state of a run on disk: one file, written whole, that says which run it belongs to."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from virb.errors import CheckpointError, UsageError
from virb.system.files import atomic_write

FORMAT = "virb-training/1"


class StaleRun(UsageError):
    """What is there belongs to a run with other settings or other data."""


def write_state(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write ``state`` as that of the run ``identity``; the old file stays until the new one is complete."""
    with atomic_write(path) as file:
        torch.save({"format": FORMAT, "identity": dict(identity), **on_host(state)}, file)


def on_host(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``state`` with a GPU's tensors on the host, fetched in one copy a type: each by itself would wait."""
    found: dict[torch.dtype, list[torch.Tensor]] = {}

    def collect(value: Any) -> None:
        if isinstance(value, Mapping):
            for part in value.values():
                collect(part)
        elif isinstance(value, list | tuple):
            for part in value:
                collect(part)
        elif isinstance(value, torch.Tensor) and value.device.type == "cuda":
            found.setdefault(value.dtype, []).append(value.detach())

    def replace(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: replace(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(replace(part) for part in value)
        return next(there[value.dtype]) if isinstance(value, torch.Tensor) and value.device.type == "cuda" else value

    collect(state)
    if not found:
        return dict(state)
    there = {}
    for dtype, tensors in found.items():
        parts = torch.cat([tensor.reshape(-1) for tensor in tensors]).cpu().split([t.numel() for t in tensors])
        # A copy each, as a saved view would take the whole with it; optimisers want the strides that their weights have.
        there[dtype] = iter(
            [
                torch.empty_strided(t.size(), t.stride(), dtype=dtype).copy_(part.view(t.shape))
                for part, t in zip(parts, tensors, strict=True)
            ]
        )
    return replace(state)


def read_state(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the state at ``path``, None if there is no file.

    Raises:
        CheckpointError: the file is damaged.
        StaleRun: it belongs to another run than ``identity``; the text says what differs.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']!r}")
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is not a readable training state ({error}). Remove the folder to start again."
        ) from error
    differences = [
        f"{key}: {state['identity'].get(key)!r} there, {identity.get(key)!r} asked for"
        for key in sorted({*state["identity"], *identity})
        if state["identity"].get(key) != identity.get(key)
    ]
    if differences:
        raise StaleRun(
            f"{path} belongs to another run ({'; '.join(differences)}). Repeat those settings, "
            "or choose another --out, or pass --force to start again."
        )
    return state
