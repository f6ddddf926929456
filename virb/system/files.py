"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from virb.errors import UsageError, VirbError, option

SETTLED_NS = 2_000_000_000  # a file that changed less than this before it was read may change again within one tick
DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows keeps these for devices


class NotRegular(OSError):
    """A path leads to a pipe, a device or a folder."""


class TooLarge(OSError):
    """A file has more bytes than are read of its kind: ``size`` of them, as far as that is known."""

    def __init__(self, size: int | None) -> None:
        super().__init__("the file is too large")
        self.size = size


class FileState(NamedTuple):
    """By what a change of a file would show."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


def file_state(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def settled_state(path: str | os.PathLike[str]) -> FileState | None:
    """Return the state of a file; None also where it changed in the last moments, after which a change might leave no trace."""
    found = file_state(path)
    return None if found is None or time.time_ns() - max(found.mtime_ns, found.ctime_ns) < SETTLED_NS else found


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str], *, most: int) -> Iterator[IO[bytes]]:
    """Yield a regular file of at most ``most`` bytes, open for reading. Opening waits for nobody, wherever the path leads.

    Raises:
        OSError: it cannot be opened; :class:`NotRegular` and :class:`TooLarge` are the two that the system does not say.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):  # before a file object is made, which a folder cannot have
        os.close(descriptor)
        raise NotRegular
    with os.fdopen(descriptor, "rb") as file:
        if found.st_size > most:
            raise TooLarge(found.st_size)
        yield file


def read_regular(path: str | os.PathLike[str], *, most: int) -> bytes:
    """Return the contents of a regular file of at most ``most`` bytes.

    Raises:
        OSError: as :func:`open_regular`, and where it cannot be read or grew beyond ``most`` meanwhile.
    """
    with open_regular(path, most=most) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise TooLarge(None)
    return content


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, is_durable: bool = True) -> Iterator[IO[bytes]]:
    """Yield a binary file that takes the place of ``path`` when the block ends without an error.

    It is written beside ``path``, synchronised to disk and renamed, so that a reader sees the old file or the new one,
    never a part; an error or a kill leaves ``path`` as it was. What is not ``is_durable`` is not waited for: a power cut may
    leave a part of it.

    Raises:
        VirbError: the folder cannot be made or the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise VirbError(f"Cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())  # mkstemp makes private files; results are meant to be shared
        os.replace(aside, path)
        if is_durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise VirbError(f"Cannot write {path}: {error.strerror or error}. Is the disk full?") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)


def collect_leftovers(folder: str | os.PathLike[str], *, older_than_s: float = 3600) -> list[Path]:
    """Remove what killed runs left of :func:`atomic_write` below ``folder``, and return it.

    A file that another process writes at this moment is younger than ``older_than_s``.
    """
    removed = []
    for place, _, names in os.walk(folder):
        for name in names:
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            path = Path(place, name)
            with contextlib.suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > older_than_s:
                    path.unlink()
                    removed.append(path)
    return removed


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Make ``folder``, and raise UsageError now if files could not be written into it later."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"Cannot write to {folder}: {error.strerror or error}. Choose another folder with {option('out')}."
        ) from None


def check_room(folder: str | os.PathLike[str], n_bytes: int, what: str) -> None:
    """Raise UsageError now if the disk has no room for ``what``, which will take ``n_bytes``."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # a file system that does not tell
    if free < n_bytes:
        raise UsageError(
            f"{what} will take {n_bytes / 1e6:,.0f} MB, and the disk of {folder} has {free / 1e6:,.0f} MB left. Make room, "
            f"or choose another folder with {option('out')}."
        )


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` durable; where a folder cannot be opened, it is as durable as it gets."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
