"""The dicts of tensors inside a checkpoint, and which of several is the one that its release reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

State = dict[str, Tensor]

# Among several that match exactly: the query over the key, the online network over its average; DINO's teacher.
SECOND_CHOICE = re.compile(r"encoder_k|momentum|target|student|(^|[^a-z])ema([^a-z]|$)|key_encoder")


def tables(state: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every dict of tensors in a checkpoint with the names of the dicts around it, each dict once."""
    todo: list[tuple[Mapping[Any, Any], tuple[str, ...]]] = [(state, ())]
    seen = set()
    while todo:
        mapping, path = todo.pop(0)
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        own = {
            key: value
            for key, value in mapping.items()
            if isinstance(key, str) and isinstance(value, Tensor) and not value.is_nested
        }
        if own:
            yield "/".join(path), own
            for key in own:
                if key.endswith(_SEQUENTIAL_PROBE):
                    start = key.removesuffix(_SEQUENTIAL_PROBE)
                    if f"{start}0.weight" in own and f"{start}1.running_mean" in own:
                        yield "/".join(path), _named_as_resnet(own, start)
        if len(path) < 8:
            inner = [(key, value) for key, value in mapping.items() if isinstance(key, str)]
            todo[:0] = [(value, (*path, key)) for key, value in inner if isinstance(value, Mapping)]


# nn.Sequential(*list(resnet.children())[:-1]), lightly's usual backbone, numbers the parts: relu and pool are 2 and 3.
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_SEQUENTIAL_PROBE = "4.0.conv1.weight"


def _named_as_resnet(table: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    renamed = {}
    for key, value in table.items():
        part, dot, rest = key.removeprefix(start).partition(".")
        if key.startswith(start) and part in _SEQUENTIAL:
            key = f"{start}{_SEQUENTIAL[part]}{dot}{rest}"
        renamed[key] = value
    return renamed


def listed(names: list[str], n: int = 4) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
