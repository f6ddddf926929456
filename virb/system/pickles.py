"""Pickles of numpy arrays and plain containers, read without running any code of theirs."""

from __future__ import annotations

import pickle
from typing import IO, Any


class ForbiddenError(Exception):
    """A pickle names something else than arrays and plain containers; the text is its name."""


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and nothing else."""

    allowed = frozenset(
        (module, name)
        for core in ("numpy.core", "numpy._core")
        for module, name in (
            (f"{core}.multiarray", "_reconstruct"),
            (f"{core}.multiarray", "scalar"),
            (f"{core}.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
            ("collections", "OrderedDict"),
        )
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise ForbiddenError(f"{module}.{name}")
        return super().find_class(module, name)


def load_arrays(file: IO[bytes]) -> Any:
    """Return what an open pickle holds; one that Python 2 wrote is read too.

    Raises:
        ForbiddenError: it names anything but arrays and plain containers; nothing of it was run.
        Exception: it is damaged (pickle raises many kinds).
    """
    return _ArrayUnpickler(file, encoding="latin1").load()
