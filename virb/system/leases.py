"""Leases on folders of the cache: whoever reads a folder holds it, and nobody removes what is held.

A lease is a shared lock on the file ``in-use`` in the folder. The kernel drops it when the process ends, however it
ends, so a kill leaves nothing behind. The time of that file is the folder's last use. A folder is removed by taking the
lock alone, renaming the folder and deleting it then, so that no reader ever finds half of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

try:
    import fcntl
except ImportError:  # Windows, where an open file keeps its folder from being renamed: that is the lock
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = "in-use"
REMOVED = ".removed-"


class Lease:
    """Keeps a folder from being removed until it is released or collected."""

    def __init__(self, handle: int | None) -> None:
        self._handle = handle

    def release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __del__(self) -> None:
        self.release()


def hold(folder: Path, *, create: bool = False) -> Lease | None:
    """Return a lease on ``folder`` and note that it is in use now; None if it does not exist.

    Raises:
        OSError: the folder had to be created and could not be.
    """
    while True:
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            return None
        try:
            handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # it was removed in this moment
        except OSError:
            return Lease(None)  # a cache that others own and we only read: we could not remove from it either
        lease = Lease(handle)
        _allow_files(handle)
        with contextlib.suppress(OSError):  # a file system without locks: nothing there is ever removed
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_SH)
        if _is_at(handle, folder):
            with contextlib.suppress(OSError):
                os.utime(folder / LOCK_NAME)
            return lease


def keep(array: np.ndarray, lease: Lease | None) -> np.ndarray:
    """Hold ``lease`` for as long as the file behind a memory-mapped ``array`` (or any view of it) is mapped."""
    if lease is not None and array.base is not None:
        weakref.finalize(array.base, _forget, lease).atexit = False
    return array


def is_held(folder: Path) -> bool:
    """Whether some process holds ``folder``."""
    lease = _hold_alone(folder)
    if lease is not None:
        lease.release()
    return lease is None


def remove(folder: Path) -> bool:
    """Remove ``folder`` unless a process holds it; return whether it is gone."""
    lease = _hold_alone(folder)
    if lease is None:
        return not folder.exists()
    if fcntl is None:
        lease.release()
    aside = folder.with_name(f"{REMOVED}{uuid.uuid4().hex}")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    finally:
        lease.release()
    shutil.rmtree(aside, ignore_errors=True)
    return True


def remove_leftovers(parent: Path) -> None:
    """Delete what a removal that was killed left in ``parent``."""
    for path in parent.glob(f"{REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)


def last_use(folder: Path) -> float:
    """Return when ``folder`` was last held, in seconds since the epoch."""
    for path in (folder / LOCK_NAME, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def size(folder: Path) -> int:
    """Return the bytes of the files in ``folder``."""
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total


def _hold_alone(folder: Path) -> Lease | None:
    """Return a lease that no other shares; None if there are others, or the folder is not there."""
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None
    lease = Lease(handle)
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
    return lease if _is_at(handle, folder) else None


def _is_at(handle: int, folder: Path) -> bool:
    """Whether the open lock file is still that of ``folder``, which may have been removed and made anew."""
    try:
        there = os.stat(folder / LOCK_NAME)
    except OSError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _allow_files(n_open: int) -> None:
    """Many encoders hold many folders: raise the soft limit of open files before it is reached."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or 2 * n_open < soft:
        return
    wanted = 4 * soft if hard == resource.RLIM_INFINITY else min(4 * soft, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _forget(_lease: Lease) -> None:
    """Called when a mapping is gone; the reference to its lease goes with the call."""
