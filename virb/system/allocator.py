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


def collect_seldom() -> None:
    """Let Python look for cycles of garbage at every 20,000 new objects, not 700.

    Each look at all objects costs .2 s beside a million of them, as the records of a large store are, and frees nothing
    there: what is read is kept. A report of 7,350 records took a twelfth of its time for that. Unlike
    :func:`no_search_for_cycles` it is for a whole program, which also makes cycles that must go, as figures are.
    """
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


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
