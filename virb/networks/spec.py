"""How an encoder is named: ``NAME:option=value,option=value``, and the folder that its results go to."""

from __future__ import annotations

import hashlib
import re

from virb.errors import UsageError
from virb.system.files import DEVICE_NAMES


def safe_name(name: str) -> str:
    """Return ``name`` as a folder's name that every file system takes."""
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("=", "")).strip(".- ")
    text = re.sub(r"-{2,}", "-", text)
    if len(text) > 100:
        text = f"{text[:87].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    if not text:
        return "encoder"
    return f"encoder-{text}" if DEVICE_NAMES.fullmatch(text) else text


def split_source(source: str) -> tuple[str, dict[str, str]]:
    """Split ``random:resnet18:width=0.25,seed=1`` into the name and its options.

    Options begin at the first ``:key=`` (or ``?key=``) and are separated by commas (or ``&``); the second spelling of
    each needs quotes in a shell.

    Raises:
        UsageError: an option without a value, or given twice.
    """
    start = re.search(r"[:?](?=[A-Za-z_]+=)", source)
    if start is None:
        return source, {}
    options: dict[str, str] = {}
    for part in re.split(r"[,&]", source[start.end() :]):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise UsageError(
                f"{source!r}: cannot read the option {part!r}; expected key=value, several separated by commas, as in "
                "random:resnet18:width=0.25,seed=1."
            )
        if key in options:
            raise UsageError(f"{source!r}: the option {key} is given twice.")
        options[key] = value
    return source[: start.start()], options


def split_code(base: str) -> tuple[str, str] | None:
    """Return file and function of ``FILE.py:FUNCTION``; None if it is no such name."""
    found = re.fullmatch(r"(.+\.py):([^\W\d]\w*)", base)
    return (found[1], found[2]) if found else None
