"""What is remembered of files, behind a checksum: a convenience, which is no memory where it is damaged or of other code."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from virb.errors import VirbError
from virb.system.files import atomic_write, read_regular

MAGIC = b"virb-remembered/1"
MOST_BYTES = 256 << 20


def recall(path: str | Path, code: str) -> dict[str, Any]:
    """Return what was remembered at ``path``; nothing where it is absent, damaged, or of another state of the ``code``."""
    try:
        magic, digest, body = read_regular(path, most=MOST_BYTES).split(b"\n", 2)
    except (OSError, ValueError):
        return {}
    if magic != MAGIC or hashlib.sha256(body).hexdigest().encode() != digest:
        return {}
    found: dict[str, Any] = json.loads(body)
    return found if found["code"] == code else {}


def remember(path: str | Path, code: str, content: Mapping[str, Any]) -> None:
    """Write ``content`` down if it can be; it need not outlive a power cut, which its checksum would tell."""
    with contextlib.suppress(VirbError, OSError, TypeError, ValueError):
        body = json.dumps({"code": code, **content}, allow_nan=False, separators=(",", ":")).encode()
        with atomic_write(path, is_durable=False) as file:
            file.write(b"\n".join([MAGIC, hashlib.sha256(body).hexdigest().encode(), body]))
