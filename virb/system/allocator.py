"""Allocator settings of the process: for programs to choose, never set by importing the library."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep large freed blocks for reuse instead of returning them to the kernel; return whether it did.

    A forward pass frees and asks for the same large buffers at every layer; giving each back and having it zeroed again
    by page faults costs up to half the time of a large batch on CPU. Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, ctypes.c_int(2**31 - 1)))


@contextlib.contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Put Python's search for unused cycles off until the block ends.

    Where hundreds of thousands of objects are made that all stay, each search looks through all of them and finds nothing: a
    quarter of the time of planning 73,500 jobs whose records are there.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
