"""The options of an encoder's name, and what loading one finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from virb.contracts.encoder import MatchReport
from virb.errors import UsageError
from virb.networks.backbones import canonical_architecture
from virb.networks.base import Backbone
from virb.networks.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from virb.networks.read_off import POOLS


@dataclass
class Found:
    backbone: Backbone
    arch: str
    arch_options: dict[str, Any]
    preprocess: Preprocess
    meta: dict[str, Any]
    report: MatchReport | None = None


def number(text: Any, key: str) -> int:
    try:
        return int(text)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The option {key} is {text!r}; expected a whole number.") from error


def _triple(value: Any, key: str) -> tuple[float, float, float]:
    parts = value.split("/") if isinstance(value, str) else value
    try:
        first, second, third = (float(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The option {key} is {value!r}; expected three numbers, as in 0.5/0.5/0.5.") from error
    return first, second, third


def take_preprocess(options: dict[str, Any], default: Preprocess) -> Preprocess:
    changes: dict[str, Any] = {}
    if "size" in options:
        changes["size"] = number(options.pop("size"), "size")
    for key in ("mean", "std"):
        if key in options:
            changes[key] = _triple(options.pop(key), key)
    return replace(default, **changes)


PREPROCESS = ("size", "mean", "std")
COMMON = (*PREPROCESS, "name")


def take_read_off(options: dict[str, Any]) -> dict[str, str]:
    """Take what is to be read off a transformer out of its options; ``pool=token`` and ``avg`` are an architecture's own."""
    found = {"layers": str(options.pop("layers"))} if "layers" in options else {}
    if str(options.get("pool")) in POOLS:
        found["pool"] = str(options.pop("pool"))
    return found


def published_preprocess(backbone: Backbone) -> tuple[Preprocess, str]:
    """Return how images are prepared for a library's network, and where that stands; ImageNet's at 224 px by default."""
    config = getattr(backbone, "config", None)
    if config is not None:
        size = int((config.get("input_size") or (3, 224, 224))[-1])
        mean, std = config.get("mean") or IMAGENET_MEAN, config.get("std") or IMAGENET_STD
        return Preprocess(size, mean, std), f"images prepared as timm's configuration of {backbone.label} says"
    transforms = getattr(backbone, "transforms", None)
    if transforms is not None:
        return of_transforms(transforms), f"images prepared as torchvision does for its weights of {backbone.label}"
    return (
        Preprocess(),
        "images prepared as ImageNet's usually are (224 px, its mean and std): the file does not say how",
    )


def of_transforms(transforms: Any) -> Preprocess:
    """Return the preprocessing of torchvision's transforms of a weights' entry."""
    crop = getattr(transforms, "crop_size", [224])
    mean, std = getattr(transforms, "mean", IMAGENET_MEAN), getattr(transforms, "std", IMAGENET_STD)
    return Preprocess(crop[0], mean, std)


def known_options(arch: str) -> tuple[str, ...]:
    return (*canonical_architecture(arch)[1], *COMMON)
