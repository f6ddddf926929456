"""The state of a run on disk: one file, written whole, that says which run it belongs to and whether it is sound.

The file is torch's own zip, whose members carry checksums; they are read before anything is believed. What is in it is
compared with what a run of these settings has: steps, and every tensor's name, shape and type.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from virb.errors import CheckpointError, UsageError
from virb.system.files import atomic_write

FORMAT = "virb-training/1"


class StaleRun(UsageError):
    """What is there belongs to a run with other settings or other data."""


def write_state(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write ``state`` as that of the run ``identity``; the old file stays until the new one is complete."""
    with atomic_write(path) as file:
        try:
            torch.save({"format": FORMAT, "identity": dict(identity), **on_host(state)}, file)
        except RuntimeError as error:  # torch's zip writer, told by the file that nothing more can be written
            raise OSError(f"the state cannot be written ({_first_line(error)})") from error


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
        CheckpointError: the file is damaged: its checksums do not fit, or it is no state of a run.
        StaleRun: it belongs to another run than ``identity``; the text says what differs.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _damaged(path, "it is no regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("two of its members have one name")
            if sum(member.file_size for member in archive.infolist()) > found.st_size:
                raise ValueError("its members are larger than the file")  # torch writes them as they are
            changed = archive.testzip()
        if changed is not None:
            raise ValueError(f"the checksum of {changed} does not fit")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of damaged archives and pickles, zipfile and torch raise all kinds
        raise _damaged(path, _first_line(error)) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT or not isinstance(state.get("identity"), dict):
        raise _damaged(path, f"it is not of the format {FORMAT}")
    there, asked = _plain(state["identity"]), _plain(identity)
    differences = [
        f"{key}: {there.get(key)!r} there, {asked.get(key)!r} asked for"
        for key in sorted({*there, *asked}, key=str)
        if there.get(key) != asked.get(key)
    ]
    if differences:
        raise StaleRun(
            f"{path} belongs to another run ({'; '.join(differences)}). Repeat those settings, "
            "or choose another --out, or pass --force to start again."
        )
    return state


def restore(
    path: Path,
    state: Mapping[str, Any],
    learner: nn.Module,
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    average: nn.Module | None = None,
    *,
    steps: int,
) -> None:
    """Load a state that :func:`read_state` returned into ``learner``, ``optimizer`` and the ``average`` of its weights.

    Raises:
        CheckpointError: it is not one of this learner at an update up to ``steps``; nothing is kept of it then that matters,
            since the run does not go on.
    """
    step, seconds, low_spread = (state.get(key) for key in ("step", "seconds", "low_spread"))
    if not (_is_count(step) and step <= steps and _is_count(low_spread)):  # type: ignore[operator]
        raise _damaged(path, f"update {step!r} of {steps}, collapse {low_spread!r}")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not (0 <= seconds < math.inf):
        raise _damaged(path, f"it took {seconds!r} seconds")
    modules = {"learner": learner} if average is None else {"learner": learner, "average": average}
    for what, module in modules.items():
        _check_tensors(path, state.get(what), module)
    try:
        for what, module in modules.items():
            module.load_state_dict(state[what])
        settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for group, own_settings in zip(optimizer.param_groups, settings, strict=True):
            group.update(own_settings)  # rates and decays are this run's, whatever the file says
        scaler.load_state_dict(state["scaler"])
    except Exception as error:
        raise _damaged(path, _first_line(error)) from error
    for parameter, kept in optimizer.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise _damaged(path, f"the optimiser's {name} is not of its parameter's shape")


def _check_tensors(path: Path, tensors: Any, module: nn.Module) -> None:
    """Refuse tensors that are not those of ``module``, by name, shape and type, or not finite."""
    own = module.state_dict()
    if not isinstance(tensors, dict) or tensors.keys() != own.keys():
        raise _damaged(path, "it has other tensors than the method")
    for name, tensor in tensors.items():
        here = own[name]
        if not isinstance(tensor, Tensor) or tensor.shape != here.shape or tensor.dtype != here.dtype:
            raise _damaged(path, f"its {name} is not of shape {tuple(here.shape)} and type {here.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _damaged(path, f"its {name} is not finite")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as JSON gives it back, so that lists and tuples, and numbers of NumPy's, compare by what they say."""
    try:
        return json.loads(json.dumps(dict(identity), default=str))
    except (TypeError, ValueError, RecursionError):
        return {"identity": "not plain values"}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a readable training state ({reason}). Start again with --force, which replaces it."
    )
