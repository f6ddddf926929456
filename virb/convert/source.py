"""The tensors of one network in a published file, of which a layout has to account for every one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from virb.contracts.layout import Architecture, LayoutReport
from virb.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}


class Source:
    """Hands out tensors by name, remembers which were taken, and refuses to finish while one is left."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state
        self._left = set(state)
        self._dropped: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return key in self._state

    def shape(self, key: str) -> tuple[int, ...]:
        """Return a tensor's shape.

        Raises:
            CheckpointError: there is none of that name.
        """
        if key not in self._state:
            raise CheckpointError(f"the tensor {key} is missing.")
        return tuple(self._state[key].shape)

    def take(self, key: str) -> Tensor:
        """Return a tensor, which counts as placed.

        Raises:
            CheckpointError: there is none of that name.
        """
        if key not in self._state:
            raise CheckpointError(f"the tensor {key} is missing.")
        self._left.discard(key)
        return self._state[key]

    def stacked(self, keys: Sequence[str]) -> Tensor:
        """Return tensors joined along their first axis, such as query, key and value."""
        import torch

        parts = [self.take(key) for key in keys]
        if len({tuple(part.shape[1:]) for part in parts}) > 1:
            shapes = ", ".join(f"{key} {tuple(part.shape)}" for key, part in zip(keys, parts, strict=True))
            raise CheckpointError(f"tensors that belong together have shapes that do not: {shapes}.")
        return torch.cat(parts)

    def move(self, target: dict[str, Tensor], names: Mapping[str, str], *, before: str = "", after: str = "") -> None:
        """Put the weight and, where there is one, the bias of each of ``names`` under its new name.

        ``before`` and ``after`` stand before the old and the new names; a name that ends in a dot-free tensor's name
        (neither weight nor bias below it) is moved as it is.
        """
        for old, new in names.items():
            if before + old in self._state:
                target[after + new] = self.take(before + old)
                continue
            target[f"{after}{new}.weight"] = self.take(f"{before}{old}.weight")
            if f"{before}{old}.bias" in self._state:
                target[f"{after}{new}.bias"] = self.take(f"{before}{old}.bias")

    def drop(self, *patterns: str) -> None:
        """Leave out what belongs to no encoder: every tensor whose whole name one of the regular expressions matches."""
        for pattern in patterns:
            rule = re.compile(pattern)
            for key in sorted(key for key in self._left if rule.fullmatch(key)):
                self._left.discard(key)
                self._dropped[key.split(".")[0]] += 1

    def finish(
        self,
        arch: str,
        options: Mapping[str, Any],
        target: Mapping[str, Tensor],
        *,
        notes: Iterable[str] = (),
        preprocess: Mapping[str, Any] | None = None,
        key_prefix: str = "net.",
    ) -> tuple[Architecture, dict[str, Tensor], LayoutReport]:
        """Return what a layout's ``convert`` returns.

        Raises:
            CheckpointError: a tensor was neither placed nor left out on purpose.
        """
        if self._left:
            shown = sorted(self._left)
            more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
            raise CheckpointError(f"{len(shown)} of its tensors have no place: {', '.join(shown[:4])}{more}.")
        state = {f"{key_prefix}{key}": value for key, value in target.items()}
        return (arch, dict(options)), state, LayoutReport(tuple(notes), dict(self._dropped), dict(preprocess or {}))


def count(keys: Iterable[str], start: str) -> int:
    """Return how many numbered parts stand under ``start``, such as the blocks under ``encoder.layer.``.

    Raises:
        CheckpointError: the numbers are not 0, 1, 2, ...: blocks are missing.
    """
    found = {key[len(start) :].split(".")[0] for key in keys if key.startswith(start)}
    numbers = sorted(int(number) for number in found if number.isdigit())
    if numbers != list(range(len(numbers))):
        raise CheckpointError(
            f"the parts under {start} are numbered {numbers}; expected 0, 1, 2 and so on without a gap."
        )
    return len(numbers)


def square(n_tokens: int, what: str) -> int:
    """Return the side of a square of ``n_tokens``.

    Raises:
        CheckpointError: it is no square.
    """
    side = round(n_tokens**0.5)
    if side * side != n_tokens or not side:
        raise CheckpointError(f"{what} covers {n_tokens} patches, which are no square.")
    return side


# Published widths whose heads are not 64 wide.
_HEADS = {1280: 16, 1152: 16, 1408: 16, 1664: 16}


def heads_of(dim: int, facts: Mapping[str, Any], *, key: str = "num_attention_heads") -> int:
    """Return the number of heads: the configuration's, the user's, or the published networks' of that width.

    Raises:
        CheckpointError: none of the three says it.
    """
    config = facts.get("config") or {}
    if key in config:
        return int(config[key])
    asked = facts.get("asked") or {}
    if "heads" in asked:
        return int(asked["heads"])
    if dim in _HEADS:
        return _HEADS[dim]
    if dim % 64:
        raise CheckpointError(
            f"nothing in the file tells how many heads a width of {dim} has. Say it, as in FILE:heads=4, or give the "
            "folder with its config.json."
        )
    return dim // 64


ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python": "gelu",
    "quick_gelu": "quick_gelu",
}


def activation_of(config: Mapping[str, Any], default: str) -> str:
    """Return our name of a configuration's ``hidden_act``.

    Raises:
        CheckpointError: no published Vision Transformer has it.
    """
    named = str(config.get("hidden_act", default))
    if named not in ACTIVATIONS:
        raise CheckpointError(f"its config.json says hidden_act={named!r}; expected one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[named]


def dinov3_heads(dim: int, facts: Mapping[str, Any]) -> int:
    """Return the heads of a DINOv3: those of :func:`heads_of`, but 20 at 1280 and 32 at 4096."""
    published = {1280: 20, 4096: 32}
    is_said = "num_attention_heads" in facts["config"] or "heads" in facts["asked"]
    return published[dim] if dim in published and not is_said else heads_of(dim, facts)


def rotary_periods(dim: int, heads: int, base: float) -> Tensor:
    """Return DINOv3's rotary periods, base^(2i / (D/2)) for i in 0..D/4-1 of a head's width D."""
    import torch

    width = dim // heads
    return base ** (2.0 * torch.arange(width // 4, dtype=torch.float32) / (width // 2))


def window_of(n_offsets: int) -> int:
    """Return the side G of a window whose table of relative positions has (2G-1)² entries.

    Raises:
        CheckpointError: no side has as many.
    """
    side = square(n_offsets, "a table of relative positions")
    if side % 2 == 0:
        raise CheckpointError(
            f"a table of relative positions has {n_offsets} entries; expected the square of an odd number."
        )
    return (side + 1) // 2


def resnet_architecture(shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
    """Return the architecture of a ResNet under torchvision's names: a named one, else one of the family ``resnet``.

    Raises:
        CheckpointError: its first convolution or its stages are none of a ResNet.
    """
    from virb.networks.families.resnet import RESNETS, BasicBlock, base_channels

    first = shapes.get("conv1.weight", ())
    if len(first) != 4 or first[1] != 3 or first[2] not in (3, 7):
        raise CheckpointError(f"the first convolution is {tuple(first)}; expected (C, 3, 7, 7) or (C, 3, 3, 3).")
    channels, stem = first[0], "imagenet" if first[2] == 7 else "cifar"
    depths = tuple(count(shapes, f"layer{number}.") for number in range(1, 5))
    kind = "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic"
    inner = shapes.get("layer1.0.conv2.weight", (0, 0))[:2]
    for arch, spec in RESNETS.items():
        is_basic = spec.block is BasicBlock
        own = channels if is_basic else round(channels * spec.inner_width / 64) * spec.groups
        is_it = (is_basic, spec.depths, (own, own // spec.groups)) == (kind == "basic", depths, tuple(inner))
        if is_it and base_channels(channels / 64) == channels:
            return arch, {"width": channels / 64, "stem": stem}
    return "resnet", {"block": kind, "depths": "/".join(map(str, depths)), "channels": channels, "stem": stem}


def joined(values: Iterable[int]) -> str:
    """Return numbers as an option of a family holds them: 3/3/9/3."""
    return "/".join(map(str, values))


def open_clip_model(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the network's part of open_clip_config.json, empty if there is none."""
    found = facts["config"].get("model_cfg")
    return found if isinstance(found, Mapping) else {}
