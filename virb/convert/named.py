"""Encoders that are known by a name alone: random weights, raw pixels, and the libraries' own pretrained ones."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from virb.contracts.parts import check_names
from virb.convert.declared import timm_role
from virb.convert.match import match_state
from virb.convert.options import (
    COMMON,
    Found,
    known_options,
    number,
    of_transforms,
    published_preprocess,
    take_preprocess,
)
from virb.convert.read import read_checkpoint
from virb.errors import CheckpointError, UsageError
from virb.networks.backbones import blank_backbone, build_backbone, canonical_architecture
from virb.networks.preprocess import Preprocess
from virb.system.threads import own_generator


def make_random(arch: str, options: dict[str, Any]) -> Found:
    arch, _ = canonical_architecture(arch)
    check_names((*known_options(arch), "seed"), options, f"random:{arch}")
    seed = number(options.pop("seed", 0), "seed")
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"random:{arch}: the seed is {seed}, more than PyTorch's generator takes (64 bits).")
    preprocess = take_preprocess(options, Preprocess())
    arch, full = canonical_architecture(arch, options)
    with own_generator(seed):
        backbone = build_backbone(arch, **full)
    return Found(backbone, arch, full, preprocess, {"method": "random", "role": "untrained", "seed": seed})


def make_pixels(base: str, options: dict[str, Any]) -> Found:
    kind, colon, grid = base.partition(":")
    if kind != "pixels":
        raise CheckpointError(f"There is no file and no encoder called {base!r}. Did you mean pixels or pixels:8?")
    check_names(known_options("pixels"), options, "pixels")
    if colon:
        options.setdefault("grid", grid)
    preprocess = take_preprocess(options, Preprocess(size=64))
    arch, full = canonical_architecture("pixels", options)
    return Found(build_backbone(arch, **full), arch, full, preprocess, {"method": "pixels", "role": "baseline"})


def load_timm(base: str, options: dict[str, Any]) -> Found:
    import timm

    name = base.partition(":")[2]
    check_names(COMMON, options, base)
    with own_generator(), _without_retries():
        try:
            backbone = build_backbone(base)
            state = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        except UsageError:
            raise
        except Exception as error:  # whatever the hub's client raises: no network, no such weights, a full disk
            raise CheckpointError(
                f"The pretrained weights of {base} could not be had: {first_line(error)}. Where there is no network, "
                f"download the model's .safetensors file elsewhere and give it as FILE.safetensors:arch={base}, or use "
                f"random:{base} for random weights."
            ) from error
    backbone.load_state_dict({f"{backbone.key_prefix}{key}": value for key, value in state.items()})
    config: Mapping[str, Any] = getattr(backbone, "config", {})
    default, _ = published_preprocess(backbone)
    meta = {"source": base, "role": timm_role(str(config.get("tag") or ""))}
    return Found(backbone, base, {}, take_preprocess(options, default), meta)


@contextlib.contextmanager
def _without_retries() -> Iterator[None]:
    """Keep the hub's client from printing a line a retry: what it could not get is said once, by us."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def load_torchvision(base: str, options: dict[str, Any]) -> Found:
    from torchvision import models

    name = base.partition(":")[2]
    check_names(("weights", *COMMON), options, base)
    arch, full = canonical_architecture(base)
    backbone = blank_backbone(arch, full)
    choices = models.get_model_weights(name)
    asked = str(options.pop("weights", "DEFAULT"))
    try:
        weights = choices[asked]
    except KeyError as error:
        raise UsageError(f"{base} has no weights {asked!r}; expected {', '.join(w.name for w in choices)}.") from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not path.is_file():
        checked = re.search(r"-([0-9a-f]{8,})\.", path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), checked[1] if checked else None)
        except Exception as error:  # no network, a full disk, a download that does not match its checksum
            raise CheckpointError(
                f"The pretrained weights of {base} could not be downloaded: {first_line(error)}. Where there is no "
                f"network, put the file {path.name} into {path.parent} (torch's hub folder), or use random:{base} for "
                "random weights."
            ) from error
    state, report = match_state(read_checkpoint(path), backbone, what=str(path))
    backbone.load_state_dict(state)
    default = of_transforms(weights.transforms())
    # All of torchvision's classifiers are trained with labels, but for those whose trunk saw hashtags alone.
    role = "unknown" if "SWAG_LINEAR" in weights.name else "supervised"
    meta = {"source": f"{base}, {weights.name}", "role": role}
    return Found(backbone, arch, full, take_preprocess(options, default), meta, report)


def first_line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:300].rstrip(".")
