"""The options of an encoder's name, and what loading one finds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from virb.convert.match import MatchReport
from virb.errors import UsageError
from virb.networks.backbones import Backbone, canonical_architecture
from virb.networks.preprocess import Preprocess


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


def check_known(options: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in options:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"{what} has no option {key!r}.{hint} It takes {', '.join(known)}.")


COMMON = ("size", "mean", "std", "name")


def known_options(arch: str) -> tuple[str, ...]:
    return (*canonical_architecture(arch)[1], *COMMON)
