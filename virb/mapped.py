"""Memory-mapped arrays: a process that walks through one keeps only what it looks at."""

from __future__ import annotations

import mmap

import numpy as np

WINDOW_BYTES = 64 << 10  # the kernel maps this much around a page that is touched
KEPT_BYTES = 16 << 20


def forget(array: np.ndarray) -> None:
    """Give back the memory of a mapped file's pages; they stay in the kernel's cache, and what was written is kept.

    Arrays that are not mapped are left as they are, and so is everything on systems that know no such advice.
    """
    mapped = array.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class Walk:
    """Counts what is read of or written to mapped arrays, and gives their memory back every ``KEPT_BYTES``."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays
        self._touched = 0

    def rows(self, n: int, *, are_adjacent: bool = False) -> None:
        """Note that ``n`` rows of each array were touched, one after the other or anywhere."""
        for array in self.arrays:
            n_bytes = array[:1].nbytes
            self._touched += n * (n_bytes if are_adjacent else n_bytes + WINDOW_BYTES)
        if self._touched > KEPT_BYTES:
            self._touched = 0
            for array in self.arrays:
                forget(array)
