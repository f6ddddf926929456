"""Memory-mapped arrays: a process that walks through one, or reads rows here and there, keeps only what it looks at."""

from __future__ import annotations

import mmap
import os

import numpy as np

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

    def rows(self, n: int) -> None:
        """Note that ``n`` rows of each array were touched, one after the other."""
        self._touched += sum(n * array[:1].nbytes for array in self.arrays)
        if self._touched > KEPT_BYTES:
            self._touched = 0
            for array in self.arrays:
                forget(array)


class Rows:
    """Reads rows of an array in any order.

    Those of a mapped file are read from the file, not through the map: the kernel may map up to a huge page (2 MB) around
    each row that is touched, so that a few hundred rows bring in the whole file.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._handle: int | None = None
        self._first = 0
        if not isinstance(array, np.memmap) or array.filename is None or not hasattr(os, "preadv"):
            return  # Windows has no such call
        if isinstance(array.base, mmap.mmap) and array.flags.c_contiguous:  # not a part of what is mapped
            self._handle = os.open(array.filename, os.O_RDONLY)
            self._first = int(array.offset)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def take(self, index: np.ndarray) -> np.ndarray:
        """Return the rows at ``index`` (any shape), a new array of shape (*index.shape, *array.shape[1:])."""
        out = np.empty((*index.shape, *self.array.shape[1:]), self.array.dtype)
        self.take_into(index.reshape(-1), out.reshape(index.size, *self.array.shape[1:]))
        return out

    def take_into(self, index: np.ndarray, out: np.ndarray) -> None:
        """Put the rows at ``index`` (n,) into ``out`` (n, ...), C-contiguous and of the array's type.

        Raises:
            IndexError: the array has no such row.
            OSError: the file ends before the row, or cannot be read.
        """
        if not len(index):
            return
        if not 0 <= index.min() <= index.max() < len(self.array):
            raise IndexError(f"rows {index.min()} to {index.max()} of an array of {len(self.array)}")
        if self._handle is None:
            np.take(self.array, index, axis=0, out=out, mode="clip")  # other modes copy through a buffer
            return
        n_bytes = self.array[:1].nbytes
        view = memoryview(out.data).cast("B")
        for k, row in enumerate(index.tolist()):
            begin, end = k * n_bytes, (k + 1) * n_bytes
            place = self._first + row * n_bytes
            while begin < end:
                count = os.preadv(self._handle, (view[begin:end],), place)
                if not count:
                    raise OSError(f"{self.array.filename} ends before row {row}")  # type: ignore[attr-defined]
                begin, place = begin + count, place + count
