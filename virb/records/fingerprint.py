"""What decides a number, field by field, and its digest: equal fingerprints mean that nothing need be computed.

Names, paths, times and version labels are not in it. The fields are written into the record as they are, so that
"why was this computed again" has an answer.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from virb.records.record import canonical

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

#: The version of the engine's own arithmetic: decoding, resizing, encoding, heads, metrics. Raise it when the scores
#: that a task gets change; tests/records/test_numerics.py fails when they change and this does not.
NUMERICS = 2

Fields = dict[str, Any]


class Part(NamedTuple):
    """A part of many fingerprints: its fields and their one text, which is made once."""

    fields: Fields
    text: bytes


def part(fields: Fields) -> Part:
    return Part(fields, canonical(fields))


def fingerprint(*, encoder: Fields, data: Fields, task: Fields, probe: Fields) -> Fields:
    """Return the fields of one job and their digest under the key ``sha256``."""
    return joined(encoder=part(encoder), data=part(data), task=part(task), probe=part(probe))


def digest_of(*, encoder: Part, data: Part, task: Part, probe: Part) -> str:
    """Return the digest alone of the fingerprint of these parts."""
    text = b'{"data":%b,"encoder":%b,"numerics":%d,"probe":%b,"task":%b}' % (
        data.text, encoder.text, NUMERICS, probe.text, task.text,
    )  # fmt: skip
    return hashlib.sha256(text).hexdigest()


def joined(*, encoder: Part, data: Part, task: Part, probe: Part) -> Fields:
    """Return what :func:`fingerprint` does, of parts whose texts are there."""
    return {
        "sha256": digest_of(encoder=encoder, data=data, task=task, probe=probe),
        "encoder": encoder.fields,
        "data": data.fields,
        "task": task.fields,
        "probe": probe.fields,
        "numerics": NUMERICS,
    }


def encoder_fields(encoder: FrozenEncoder) -> Fields:
    """What an encoder computes: the parts of its identity one by one, and the type it computes in."""
    parts = plain(encoder.identity_parts)
    assert isinstance(parts, dict)
    how = {"compiled": True} if encoder.is_compiled else {}
    return {**parts, "dtype": str(encoder.dtype).removeprefix("torch."), **how}


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return every field that two fingerprints have not in common, as ``task.metric: top1, now map``."""
    old, new = (dict(_leaves({k: v for k, v in f.items() if k != "sha256"}, "")) for f in (was, now))
    return [
        f"{key}: {_short(old[key]) if key in old else 'not recorded'}, now "
        f"{_short(new[key]) if key in new else 'not there'}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or old[key] != new[key]
    ]


def plain(value: Any) -> Any:
    """Return ``value`` in the words of JSON: arrays and code by their digests, numbers that are not finite as text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if type(value) is dict:  # most of what comes here, and asking for an abstract class is slow
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (int, np.integer)):
        return int(value) if abs(int(value)) < 2**63 else str(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else str(float(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        return f"array {content.dtype} {content.shape} {hashlib.sha256(content.tobytes()).hexdigest()}"
    if callable(value):
        return _code(value)
    return str(value)


def _code(value: Callable[..., Any]) -> str:
    """Return the digest of a function's or a class's text; its name where the text is not to be had."""
    try:
        return f"code {hashlib.sha256(inspect.getsource(value).encode()).hexdigest()}"
    except (OSError, TypeError):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def _short(value: Any) -> str:
    words = str(value)
    is_digest = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return words[:12] if is_digest else words if len(words) <= 60 else f"{words[:57]}..."
