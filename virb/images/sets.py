"""Image sets: ordered images with an identity, so that each is decoded and encoded once whatever reads it."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from virb.contracts.images import SIZE, UNREADABLE, Digested, in_threads, of_array, stacked
from virb.contracts.images import IdentifiedImages as IdentifiedImages
from virb.contracts.images import ImageSet as ImageSet
from virb.contracts.images import ImageSubset as ImageSubset
from virb.errors import DataError, option
from virb.images import decode, digests
from virb.system.mapped import forget

IMAGE_SUFFIXES = decode.SUFFIXES


@dataclass(frozen=True, eq=False)
class ArrayImages(Digested):
    """Images of one size held in an array, in memory or memory-mapped: uint8 (N, H, W, 3).

    ``revision`` is a label of the caller's; nothing rests on it.
    """

    name: str
    revision: str
    array: np.ndarray

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[3] != 3 or self.array.dtype != np.uint8:
            raise DataError(
                f"The image array of {self.name!r} has shape {self.array.shape} and type {self.array.dtype}; "
                "expected uint8 of shape (N, H, W, 3)."
            )

    @classmethod
    def of(cls, name: str, array: np.ndarray) -> ArrayImages:
        """Wrap ``array`` under a name."""
        return cls(name, "", array)

    def __len__(self) -> int:
        return len(self.array)

    def image(self, index: int) -> np.ndarray:
        return self.array[index]

    @property
    def one_size(self) -> tuple[int, int]:
        """The height and width of every image."""
        return self.array.shape[1], self.array.shape[2]

    def size(self, index: int) -> tuple[int, int]:
        return self.one_size

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        found = in_threads(lambda row: of_array(self.array[row]), rows.tolist())
        forget(self.array)
        return stacked(found)

    def describe(self, index: int) -> str:
        return f"frame {index} of {self.name}"


class JoinedImages(Digested):
    """The images of several sets, one after the other."""

    def __init__(self, name: str, parts: Sequence[ImageSet]) -> None:
        self.name = name
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _at(self, index: int) -> tuple[ImageSet, int]:
        k = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[k], index - int(self._starts[k])

    def image(self, index: int) -> np.ndarray:
        part, k = self._at(index)
        return part.image(k)

    def size(self, index: int) -> tuple[int, int]:
        part, k = self._at(index)
        return part.size(k)

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), SIZE), np.uint8)
        of = np.searchsorted(self._starts, rows, side="right") - 1
        for k, part in enumerate(self.parts):
            mine = np.flatnonzero(of == k)
            if len(mine):
                found[mine] = part.digest_rows(rows[mine] - self._starts[k])
        return found

    def describe(self, index: int) -> str:
        part, k = self._at(index)
        return part.describe(k)


class Paths(Sequence[Path]):
    """Paths below ``root``, made when they are asked for: a million of them take a tenth of the memory so."""

    def __init__(self, root: Path, names: Sequence[str | Path]) -> None:
        self.root = root
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.root / name for name in self.names[index]]
        return self.root / self.names[index]


class FileImages(Digested):
    """Images in files, decoded when they are read (:mod:`virb.images.decode`).

    Args:
        root: the folder that the ``paths`` lie in; a path that is absolute stands for itself.
        value_range: the values that are black and white in files of more than 8 bits.
    """

    def __init__(
        self,
        name: str,
        root: str | Path,
        paths: Sequence[str | Path],
        *,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
            raise DataError(f"{name}: value_range is {value_range}; expected two numbers, black below white.")
        self.name = name
        self.root = Path(root)
        self.paths = Paths(self.root, paths)
        self.value_range = value_range

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> np.ndarray:
        try:
            return decode.read_image(self.paths[index], value_range=self.value_range)
        except DataError as error:
            raise DataError(
                f"{self.name}: {error} Replace it, or leave such examples out with {option('skip_corrupt')}."
            ) from error

    def size(self, index: int) -> tuple[int, int]:
        return decode.read_size(self.paths[index])

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        names = self.paths.names
        found = digests.of_files(self.root, [os.path.join(self.root, names[row]) for row in rows.tolist()])
        if self.value_range is None:
            return found
        said = repr(tuple(map(float, self.value_range))).encode()  # another range makes other images of the same bytes
        return stacked([hashlib.sha256(row.tobytes() + said).digest() if row.any() else UNREADABLE for row in found])

    def describe(self, index: int) -> str:
        return decode.shown(self.paths[index])
