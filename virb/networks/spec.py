"""How an encoder is named: ``NAME:option=value,option=value``, and the folder that its results go to."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path

from virb.errors import UsageError
from virb.system.files import DEVICE_NAMES

MAX_NAME_BYTES = 180  # a file system's 255, less what results and temporary files add


def safe_name(name: str) -> str:
    """Return ``name`` as a folder's name that every file system takes.

    Letters and digits of every script stay, in one of Unicode's spellings; all else becomes ``-``. Two names that differ
    in nothing but such signs would be one: a name of none else carries a digest of what it was.

    >>> safe_name("moco v2 (800)")
    'moco-v2-800'
    """
    plain = unicodedata.normalize("NFC", name)
    text = "".join(letter if _stays(letter) else "-" for letter in plain.replace("=", "")).strip(".- ")
    text = re.sub(r"-{2,}", "-", text)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    if len(text) > 100 or len(text.encode()) > MAX_NAME_BYTES:
        head = text[:87].encode()[: MAX_NAME_BYTES - 13].decode("utf-8", "ignore")
        text = f"{head.rstrip('.-')}-{digest}"
    if not text:
        return f"encoder-{digest}"
    return f"encoder-{text}" if DEVICE_NAMES.fullmatch(text) else text


def _stays(letter: str) -> bool:
    return letter in "_.-" or letter.isalnum() or unicodedata.category(letter).startswith("M")


def split_source(source: str) -> tuple[str, dict[str, str]]:
    """Split ``random:resnet18:width=0.25,seed=1`` into the name and its options.

    Options begin at the first ``:key=`` (or ``?key=``) and are separated by commas (or ``&``); the second spelling of
    each needs quotes in a shell.

    Raises:
        UsageError: nothing is named, or an option has no value or is given twice.
    """
    start = re.search(r"[:?](?=[A-Za-z_]+=)", source)
    if not source[: None if start is None else start.start()].strip():
        raise UsageError(f"{source!r} names no encoder. Expected a file or a name, as in mine.pt or random:resnet18.")
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


def split_fused(source: str) -> list[str]:
    """Split ``a.pt+b.pt:size=96`` into its encoders; a file whose name has a plus in it stays whole, and so does a pool.

    >>> split_fused("a.pt+timm:vit:pool=cls+mean")
    ['a.pt', 'timm:vit:pool=cls+mean']
    """
    base = re.split(r"[:?](?=[A-Za-z_]+=)", source)[0]
    if "+" not in source or Path(source).exists() or ("+" in base and Path(base).exists()):
        return [source]
    parts = re.split(r"(?<!=cls)\+|(?<==cls)\+(?!mean)", source)
    return parts if all(parts) else [source]


def split_code(base: str) -> tuple[str, str] | None:
    """Return file and function of ``FILE.py:FUNCTION``; None if it is no such name."""
    found = re.fullmatch(r"(.+\.py):([^\W\d]\w*)", base)
    return (found[1], found[2]) if found else None
