"""Decoded images in the cache: written once, mapped into memory, and checked whenever they are opened.

An entry is a folder: ``pixels.bin`` (uint8, one image after the other), ``sizes.bin`` (little-endian int32, N heights and widths) and
``state.json`` (format, what it is, which images could not be read, and the SHA-256 of sizes and pixels). Anything that
does not fit is damage, and the entry is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from virb.errors import DataError, VirbError
from virb.system import cache, documents, leases
from virb.system.files import atomic_write
from virb.system.paths import cache_root

FORMAT = "virb-decoded/2"
Unreadable = tuple[int, str]  # a position, and why
_NOTHING = np.zeros((1, 1, 3), np.uint8)  # stands for an image that cannot be read
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Kept:
    """N decoded images: ``flat`` has their bytes, ``sizes`` (N, 2) their heights and widths; ``bad`` could not be read."""

    flat: np.ndarray
    sizes: np.ndarray
    bad: tuple[Unreadable, ...]
    starts: np.ndarray = field(init=False, repr=False)
    is_uniform: bool = field(init=False)

    def __post_init__(self) -> None:
        counts = 3 * self.sizes.astype(np.int64).prod(axis=1)
        object.__setattr__(self, "starts", np.concatenate([[0], np.cumsum(counts)]))
        object.__setattr__(self, "is_uniform", bool((self.sizes == self.sizes[0]).all()))

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, i: int) -> np.ndarray:
        """Return image ``i`` as uint8 (H, W, 3), a view of what is mapped."""
        return self.flat[self.starts[i] : self.starts[i + 1]].reshape(*self.sizes[i], 3)


def kept(key: str, what: str, n: int, images: Callable[[], Iterable[np.ndarray | str]]) -> Kept:
    """Return the ``n`` images that the cache keeps as ``key``; made if they are not there, or not whole.

    ``images()`` yields them in order, or why one cannot be read. Processes that want the same wait for the one that makes
    them. The folder is held (:mod:`virb.system.leases`) for as long as the pixels are mapped.

    Raises:
        DataError: the cache cannot be written.
    """
    from filelock import FileLock

    folder = cache_root() / "pretraining" / key
    try:
        lease = leases.hold(folder, create=True)
        with FileLock(folder / "lock"):
            found = _open(folder, n)
            is_new = found is None
            if is_new:
                _write(folder, what, images())
                found = _open(folder, n)
    except OSError as error:
        raise DataError(
            f"The cache {folder.parent} cannot be written: {error.strerror or error}. Name another folder in VIRB_CACHE."
        ) from error
    if found is None:
        raise DataError(f"What was written to {folder} does not read back as it was. Is the disk sound?")
    if is_new:
        cache.trim(cache.limit_bytes())
    leases.keep(found.flat, lease)
    return found


def _write(folder: Path, what: str, images: Iterable[np.ndarray | str]) -> None:
    bad: list[Unreadable] = []
    sizes: list[tuple[int, int]] = []
    digest = hashlib.sha256()
    for name in ("images.npy", "state.json"):  # of an earlier format, or damaged
        (folder / name).unlink(missing_ok=True)
    with atomic_write(folder / "pixels.bin") as file:
        for i, found in enumerate(images):
            if isinstance(found, str):
                bad.append((i, found))
                found = _NOTHING
            content = np.ascontiguousarray(found).tobytes()
            sizes.append(found.shape[:2])
            digest.update(content)
            file.write(content)
    table = np.array(sizes, "<i4").reshape(-1, 2)
    digest.update(table.tobytes())
    with atomic_write(folder / "sizes.bin") as file:
        file.write(table.tobytes())
    with atomic_write(folder / "state.json") as file:
        state = {"format": FORMAT, "images": what, "rows": len(table), "unreadable": bad, "sha256": digest.hexdigest()}
        file.write(json.dumps(state).encode())


def _open(folder: Path, n: int) -> Kept | None:
    """The entry, read through once for its checksum; None where there is none or it is not sound."""
    try:
        state = documents.read_json(folder / "state.json", most=1 << 30)
        table = documents.read_bytes(folder / "sizes.bin", most=8 * n)
        if not isinstance(state, dict) or state.get("format") != FORMAT or len(table) != 8 * n:
            return None
        sizes = np.frombuffer(table, "<i4").reshape(n, 2)
        bad = tuple((int(i), str(reason)) for i, reason in state["unreadable"])
        n_bytes = int(3 * sizes.astype(np.int64).prod(axis=1).sum())
        if n_bytes != (folder / "pixels.bin").stat().st_size or sizes.min() < 1:
            return None
        digest = hashlib.sha256()
        with (folder / "pixels.bin").open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        digest.update(sizes.tobytes())
        if digest.hexdigest() != state.get("sha256"):
            return None
        return Kept(np.memmap(folder / "pixels.bin", np.uint8, "r"), sizes, bad)
    except (VirbError, OSError, ValueError, TypeError, KeyError, EOFError):
        return None
