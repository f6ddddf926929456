"""The digests of images in files (:mod:`virb.contracts.images` says what a digest is).

They are remembered in ``<cache>/digests``, so that a set is read once and not at every command. A remembered
digest holds for one absolute path while size, times, inode and device stay as they were; files that changed in the last
moments are not remembered, since a second change might leave no trace. The folder can be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from virb.contracts.images import SIZE, UNREADABLE, in_threads, stacked
from virb.errors import VirbError
from virb.system.files import atomic_write, settled_state
from virb.system.paths import cache_root

MAGIC = b"virb-digests/1\n"
MOST_REMEMBERED = 4_000_000  # files a root
CHUNK_BYTES = 1 << 20


def of_files(root: str | os.PathLike[str], paths: Sequence[str | os.PathLike[str]]) -> np.ndarray:
    """Return uint8 (N, 32): the SHA-256 of each file's bytes; zeros for what is no regular file or cannot be read.

    Args:
        root: the folder whose files are remembered together.
    """
    place = os.path.abspath(root)
    keys = stacked(in_threads(lambda k: file_key(os.path.abspath(paths[k])), range(len(paths))))
    memory = _Memory(place)
    found = memory.recall(keys)
    missing = np.flatnonzero(~found.any(axis=1))
    if len(missing):
        found[missing] = stacked(in_threads(lambda k: _of_file(paths[k]), missing.tolist()))
        # A file that changed while it was read is not the one whose key was taken.
        same = [file_key(os.path.abspath(paths[k])) == keys[k].tobytes() for k in missing.tolist()]
        kept = missing[np.asarray(same) & keys[missing].any(axis=1) & found[missing].any(axis=1)]
        memory.remember(keys[kept], found[kept], used=keys)
    return found


def of_parts(path: Path, names: Sequence[str], compute: Callable[[int], bytes]) -> np.ndarray:
    """Return uint8 (N, 32): the digests of parts of one file, remembered as those of files are.

    Args:
        names: of the parts, each unique within the file.
        compute: returns the digest of part k.
    """
    place = os.path.abspath(path)
    whole = file_key(place)
    keys = stacked([hashlib.sha256(whole + name.encode()).digest() if any(whole) else UNREADABLE for name in names])
    memory = _Memory(place)
    found = memory.recall(keys)
    missing = np.flatnonzero(~found.any(axis=1))
    if len(missing):
        found[missing] = stacked(in_threads(compute, missing.tolist()))
        kept = missing[keys[missing].any(axis=1) & found[missing].any(axis=1)]
        memory.remember(keys[kept], found[kept], used=keys)
    return found


def file_key(path: str) -> bytes:
    """Return what a remembered digest of the file at this absolute path hangs on: the path, size, times, inode and device.

    Zeros where nothing may be remembered: there is no such file, or it changed in the last moments.
    """
    found = settled_state(path)
    if found is None:
        return UNREADABLE
    return hashlib.sha256(os.fsencode(path) + b"\0" + repr(tuple(found)).encode()).digest()


def _of_file(path: str | os.PathLike[str]) -> bytes:
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever, a device might never end
            return UNREADABLE
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except (OSError, ValueError):
        return UNREADABLE
    return digest.digest()


class _Memory:
    """The remembered digests of one root: rows of a key and a digest, sorted by key, behind a checksum of them all."""

    def __init__(self, root: str) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.path = cache_root() / "digests" / f"{name}.bin"
        self.rows = self._read()

    def _read(self) -> np.ndarray:
        """Return uint8 (n, 64); nothing where the file is absent, damaged or of another form."""
        nothing = np.zeros((0, 2 * SIZE), np.uint8)
        try:
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                return nothing
            content = self.path.read_bytes()
        except OSError:
            return nothing
        head = len(MAGIC) + SIZE
        body = memoryview(content)[head:]
        if not content.startswith(MAGIC) or len(body) % (2 * SIZE):
            return nothing
        if hashlib.sha256(body).digest() != content[len(MAGIC) : head]:
            return nothing
        return np.frombuffer(body, dtype=np.uint8).reshape(-1, 2 * SIZE)

    def recall(self, keys: np.ndarray) -> np.ndarray:
        """Return the digests of ``keys``, uint8 (N, 32); zeros for those that are not known."""
        found = np.zeros((len(keys), SIZE), np.uint8)
        if not len(self.rows) or not len(keys):
            return found
        known = _leading(self.rows)
        at = np.minimum(np.searchsorted(known, _leading(keys)), len(known) - 1)
        is_known = (self.rows[at, :SIZE] == keys).all(axis=1) & keys.any(axis=1)
        found[is_known] = self.rows[at[is_known], SIZE:]
        return found

    def remember(self, keys: np.ndarray, digests: np.ndarray, *, used: np.ndarray) -> None:
        """Add rows. Of the old ones, those that were ``used`` stay, and as many others as there is room for."""
        if not len(keys):
            return
        others = self._read()  # another process may have added some meanwhile
        is_used = np.isin(_leading(others), _leading(used)) if len(others) else np.zeros(0, bool)
        room = max(0, MOST_REMEMBERED - len(keys) - int(is_used.sum()))
        rest = others[~is_used][:room]
        rows = np.concatenate([np.concatenate([keys, digests], axis=1), others[is_used], rest])
        _, first = np.unique(_leading(rows), return_index=True)  # sorted by key; the new ones stand first
        body = np.ascontiguousarray(rows[first]).tobytes()
        # A convenience: without it, files are read again.
        with contextlib.suppress(VirbError, OSError), atomic_write(self.path) as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)


def _leading(rows: np.ndarray) -> np.ndarray:
    """Return the first eight bytes of each row as a number, by which rows are sorted."""
    return np.ascontiguousarray(rows[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
