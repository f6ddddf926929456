"""What an image set is: a SHA-256 of each image's content, and one over them in order.

An image in a file is known by the bytes of the file, one in an array by its shape, type and bytes. Names, folders and
times are no part of it: equal bytes elsewhere are the same image, other bytes under the same name are another.

Digests of files are remembered in ``<cache>/digests``, so that a set is read once and not at every command. A remembered
digest holds for one absolute path while size, times, inode and device stay as they were; files that changed in the last
moments are not remembered, since a second change might leave no trace. The folder can be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from virb.errors import VirbError
from virb.system.files import atomic_write
from virb.system.paths import cache_root
from virb.system.threads import n_cores

SIZE = 32  # bytes of a SHA-256
UNREADABLE = bytes(SIZE)  # stands for an image that cannot be read, which equals no other
MAGIC = b"virb-digests/1\n"
MOST_REMEMBERED = 4_000_000  # files a root
SETTLED_NS = 2_000_000_000  # a file that changed less than this before it was read may change again within one tick
CHUNK_BYTES = 1 << 20


class Digested:
    """Gives an image set its identity, ``digests`` and ``digest``, and the ``size`` of each image.

    A subclass has a length and ``image(index)``, by whose pixels it is known unless it says better
    (:meth:`compute_digests`). A digest is computed once: what a set is does not change while it is used.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def image(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of image ``index``."""
        height, width = self.image(index).shape[:2]
        return height, width

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        """Compute uint8 (n, 32): the digests of the images ``rows`` (n,); zeros for what cannot be read."""

        def one(row: int) -> bytes:
            try:
                return of_array(self.image(row))
            except VirbError:
                return UNREADABLE

        return stacked(in_threads(one, rows.tolist()))

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 (n, 32): the digests of the images ``rows`` (n,); zeros for what cannot be read."""
        found, is_known = self._computed
        missing = np.unique(rows[~is_known[rows]])
        if len(missing):
            found[missing] = self.compute_digests(missing)
            is_known[missing] = True
        return found[rows]

    @cached_property
    def _computed(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(self), SIZE), np.uint8), np.zeros(len(self), bool)

    @property
    def digests(self) -> np.ndarray:
        """uint8 (N, 32): the SHA-256 of each image's content, in order."""
        return self.digest_rows(np.arange(len(self)))

    @cached_property
    def digest(self) -> str:
        """The identity of the set: a hash of ``digests`` in order."""
        return combined(self.digests)


def of_array(array: np.ndarray) -> bytes:
    """Return the SHA-256 of an array's shape, type (little-endian) and bytes."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{little.shape} {little.dtype.str}\0".encode())
    digest.update(np.ascontiguousarray(little).data if little.size else b"")
    return digest.digest()


def combined(digests: np.ndarray) -> str:
    """Return one hash, as text, over digests uint8 (N, 32) in order."""
    return hashlib.sha256(np.ascontiguousarray(digests).tobytes()).hexdigest()


def stacked(digests: Sequence[bytes]) -> np.ndarray:
    """Return digests as uint8 (N, 32)."""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, SIZE)


def in_threads(one: Callable[[int], bytes], rows: Sequence[int]) -> list[bytes]:
    """Return ``one(row)`` for all ``rows``; hashing and reading let go of Python's lock."""
    if len(rows) < 2 or n_cores() < 2:
        return [one(row) for row in rows]
    step = max(1, min(256, len(rows) // (4 * n_cores())))
    parts = [rows[start : start + step] for start in range(0, len(rows), step)]
    with ThreadPoolExecutor(n_cores()) as pool:
        return [digest for part in pool.map(lambda part: [one(row) for row in part], parts) for digest in part]


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
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return UNREADABLE
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < SETTLED_NS:
        return UNREADABLE
    parts = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    return hashlib.sha256(os.fsencode(path) + b"\0" + repr(parts).encode()).digest()


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
