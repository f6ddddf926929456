"""What a record is: its schema, which sees a file's contents before any other code does.

A record is one JSON object. Only a regular file of bounded size is opened, JSON alone is accepted (no NaN, no key twice,
no endless nesting), every field has the type and range that it must have, and the checksum over all of them fits. Who
reads records through :func:`read` meets nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from virb.errors import RecordError
from virb.system import files

SCHEMA = "virb-record/2"
#: Written by virb 0.1: it does not say on what data and by which settings the score was made.
FIRST_SCHEMA = "virb-record/1"
MAX_BYTES = 16 << 20
MAX_DEPTH = 12
MAX_NUMBER = 2**63

Record = dict[str, Any]
Check = Callable[[object], str | None]  # returns what is wrong, or None


def canonical(value: object) -> bytes:
    """Return the one JSON text of ``value``: keys sorted, no spaces, numbers as Python prints them.

    Raises:
        ValueError, TypeError: it holds something that JSON has no word for, NaN among others.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def digest(value: object) -> str:
    """Return the sha256 of :func:`canonical` of ``value``."""
    return hashlib.sha256(canonical(value)).hexdigest()


# --------------------------------------------------------------------------------------------------------- the types


def text(*, most: int = 10_000) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return f"is {_kind(value)}, not text"
        return None if len(value) <= most else f"is {len(value):,} characters long; at most {most:,} are allowed"

    return check


def name(value: object) -> str | None:
    """What may be a folder's or a file's name on any system."""
    if not isinstance(value, str):
        return f"is {_kind(value)}, not text"
    is_path = value in ("", ".", "..") or any(letter in value for letter in "/\\\0") or not value.isprintable()
    return f"is {value[:60]!r}, which is no name of a folder" if is_path or len(value) > 250 else None


def number(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"is {_kind(value)}, not a number"
    return None if math.isfinite(value) and abs(value) < MAX_NUMBER else f"is {value!r:.40}, out of range"


def count(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return f"is {_kind(value)}, not a whole number"
    return None if 0 <= value < 2**53 else f"is {value!r:.40}, out of range"


def sha256(value: object) -> str | None:
    is_right = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return None if is_right else f"is {value!r:.40}, not the 64 digits of a sha256"


def anything(value: object) -> str | None:
    """Plain values nested to a bounded depth."""
    return _plain(value, 0)


def _plain(value: object, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"is nested more than {MAX_DEPTH} deep"
    if isinstance(value, (dict, list)):
        is_last = depth == MAX_DEPTH
        for item in value.values() if isinstance(value, dict) else value:
            # Of a hundred values that a record holds, most are text: they are not worth a call.
            if (is_last or type(item) is not str) and (wrong := _plain(item, depth + 1)):
                return wrong
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return None


def mapping(values: Check | None = None) -> Check:
    """A JSON object; without ``values`` of anything, which is looked at once for the whole record."""

    def check(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"is {_kind(value)}, not a JSON object"
        if values is None:
            return None
        return next((f"has {key!r:.40}, which {wrong}" for key, item in value.items() if (wrong := values(item))), None)

    return check


def optional(values: Check) -> Check:
    return lambda value: None if value is None else values(value)


def one_of(*allowed: str) -> Check:
    return lambda value: None if value in allowed else f"is {value!r:.40}, not {' or '.join(allowed)}"


Fields = Mapping[str, "Check | Fields"]

#: What every record has; a key that ends in "?" may be absent.
FIELDS: Fields = {
    "schema": one_of(SCHEMA, FIRST_SCHEMA),
    "encoder": {"name": name, "sha256": text(most=200), "weights_sha256?": text(most=200), "arch?": text(),
                "preprocess?": mapping(), "meta?": optional(mapping()), "declared?": mapping(), "source?": optional(text())},
    "task": {"name": name, "version": number, "category": text(), "metric": text(), "suite": text(), "head?": text()},
    "probe": name,
    "seed": count,
    "score": number,
    "metrics?": optional(mapping(optional(number))),
    "blind?": {"name": text(most=200), "score": number, "ceiling": number},
    "per_class?": optional(mapping(optional(number))),
    "n_train": count,
    "n_test": count,
    "files?": mapping(),
    "overrides": mapping(),
    "protocol?": optional(mapping()),
    "loss_by_epoch?": mapping(number),
    "data?": optional(mapping()),
    "seconds?": optional(mapping(number)),
    "device?": optional(text()),
    "versions?": optional(mapping(text())),
    "commit?": optional(text(most=200)),
    "fingerprint?": {"sha256": sha256, "encoder": mapping(), "data": mapping(), "task": mapping(), "probe": mapping(),
                     "numerics": number},
    "predictions_sha256?": sha256,
    "shown_sha256?": sha256,
    "checksum?": sha256,
}  # fmt: skip


def problem(record: object) -> str | None:
    """Return what is wrong with the contents of a record, or None."""
    if not isinstance(record, dict):
        return f"it is {_kind(record)}, not a JSON object"
    found = _compare(record, FIELDS, "")
    if found is None and anything(record) is not None:
        key, wrong = next((key, wrong) for key, value in record.items() if (wrong := _plain(value, 1)) is not None)
        return f"{key} holds a value that {wrong}"
    if found is None and record["schema"] == SCHEMA:
        missing = [key for key in ("checksum", "predictions_sha256") if key not in record]
        if missing:
            return f"{missing[0]} is missing"
        if record["checksum"] != checksum(record):
            return "its contents do not fit its checksum: it was changed after it was written"
    return found


def checksum(record: Mapping[str, Any]) -> str:
    """Return the digest of all that a record says but how long it took, so that the same job gives the same one."""
    return digest({key: value for key, value in record.items() if key not in ("checksum", "seconds")})


def _compare(found: dict[str, Any], fields: Fields, place: str) -> str | None:
    for key, check in fields.items():
        label = f"{place}{key.removesuffix('?')}"
        if key.removesuffix("?") not in found:
            if key.endswith("?"):
                continue
            return f"{label} is missing"
        value = found[key.removesuffix("?")]
        if callable(check):
            wrong = check(value)
            if wrong is not None:
                return f"{label} {wrong}"
        elif not isinstance(value, dict):
            return f"{label} is {_kind(value)}, not a JSON object"
        elif (wrong := _compare(value, check, f"{label}.")) is not None:
            return wrong
    return None


def _kind(value: object) -> str:
    names = {dict: "a JSON object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


# ---------------------------------------------------------------------------------------------------------- the file


def read_bytes(path: str | os.PathLike[str], *, most: int) -> bytes:
    """Return the contents of a regular file of at most ``most`` bytes; a pipe or a device is never waited for.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it cannot be read, is not a regular file or is larger.
    """
    try:
        return files.read_regular(path, most=most)
    except FileNotFoundError:
        raise
    except files.NotRegular as error:
        raise RecordError(f"{path} is not a regular file; it is not read.") from error
    except files.TooLarge as error:
        if error.size is None:
            raise RecordError(f"{path} has more than {most:,} bytes; it is not read.") from error
        raise RecordError(f"{path} has {error.size:,} bytes; at most {most:,} are read.") from error
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}.") from error


def parse(content: bytes, path: str | os.PathLike[str]) -> Record:
    """Return the record that ``content`` is.

    Raises:
        RecordError: it is none; the text names ``path`` and what is wrong.
    """
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_doubles)
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON ({error})"
        raise RecordError(f"{path} {reason}.") from None
    wrong = problem(found)
    if wrong is not None:
        raise RecordError(f"{path} is not a whole record: {wrong}.")
    assert isinstance(found, dict)
    return found


def read(path: str | os.PathLike[str]) -> Record:
    """Return the whole record in the file ``path``.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it is not a whole record.
    """
    return parse(read_bytes(path, most=MAX_BYTES), path)


def place_of(record: Mapping[str, Any]) -> Path:
    """Return where a record belongs, below the results folder."""
    return Path(record["encoder"]["name"], record["task"]["name"], f"{record['probe']}-seed{record['seed']}.json")


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a JSON number")


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:40]!r} occurs twice")
    return found
