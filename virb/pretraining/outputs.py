"""What a run leaves: encoder files, and a folder for its state."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virb.convert.load import read_checkpoint, save_encoder
from virb.errors import UsageError
from virb.networks.base import Backbone
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess
from virb.pretraining.state import StaleRun
from virb.training import augment

MEAN, STD = augment.IMAGENET_MEAN, augment.IMAGENET_STD


@dataclass(frozen=True)
class Made:
    """An encoder file, and whether it was made now or had been there."""

    path: Path
    is_new: bool
    meta: Mapping[str, Any]


def existing(out: Path, digest: str, *, resume: bool, force: bool) -> Made | None:
    """The finished encoder at ``out`` if it is this run's; refuse to overwrite any other."""
    if force or not out.exists():
        return None
    if not resume:
        raise UsageError(
            f"{out} exists. Choose another --out, pass --resume to keep it if it is this run's, or --force."
        )
    meta = read_checkpoint(out).get("meta", {})
    if not isinstance(meta, Mapping) or meta.get("run") != digest:
        raise StaleRun(f"{out} was made with other settings or other data. Choose another --out, or pass --force.")
    return Made(out, False, meta)


def write_encoder(
    out: Path,
    arch: str,
    arch_options: Mapping[str, Any],
    backbone: Backbone,
    size: int,
    meta: Mapping[str, Any],
    projection: nn.Module | None = None,
) -> None:
    save_encoder(
        out,
        arch=arch,
        arch_options=arch_options,
        state_dict={k: v.detach().cpu().contiguous() for k, v in backbone.state_dict().items()},
        preprocess={"size": size, "mean": list(MEAN), "std": list(STD)},
        meta=meta,
        projection=projection,
    )


def snapshot_path(out: Path, epochs: float) -> Path:
    """Return where the encoder of ``out`` lies as it was after ``epochs``."""
    return out.with_name(f"{out.stem}-epoch{epochs:g}.pt")


def frozen(
    name: str, arch: str, arch_options: Mapping[str, Any], backbone: Backbone, size: int, device: str
) -> FrozenEncoder:
    """Return ``backbone`` as it is now, as the encoder that its file would be."""
    return FrozenEncoder(
        backbone, name=name, arch=arch, arch_options=arch_options, preprocess=Preprocess(size=size, mean=MEAN, std=STD),
        device=torch.device(device),
    )  # fmt: skip


def clear(folder: Path) -> None:
    """Remove what an earlier run left in its folder, and nothing else."""
    for name in ("checkpoint.pt", "log.csv", "log.damaged.csv", "subset.json"):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{folder / name} cannot be removed: {error.strerror or error}. Remove it.") from error
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
