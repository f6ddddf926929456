"""Image sets: ordered images with an identity, so that each is decoded and encoded once whatever reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, overload, runtime_checkable

import numpy as np

from virb.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@runtime_checkable
class ImageSet(Protocol):
    """An ordered set of RGB images.

    ``name`` is for people; ``revision`` is the identity that caches are keyed by: it changes whenever a pixel or the
    order changes, and it is equal for two sets that hold the same images in the same order.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """Return image ``index`` as uint8 (H, W, 3)."""
        ...

    def describe(self, index: int) -> str:
        """Return what an error message should call image ``index`` (a file's path, a frame's number)."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size held in an array, in memory or memory-mapped: uint8 (N, H, W, 3)."""

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
        """Wrap ``array``; the revision is the hash of its shape and bytes."""
        digest = hashlib.sha256(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
        return cls(name, digest.hexdigest(), array)

    def __len__(self) -> int:
        return len(self.array)

    def image(self, index: int) -> np.ndarray:
        return self.array[index]

    def describe(self, index: int) -> str:
        return f"frame {index} of {self.name}"


class ImageSubset:
    """Some images of a larger set, in the order of ``rows``; so that a cache holds those alone."""

    def __init__(self, whole: ImageSet, rows: np.ndarray) -> None:
        self.whole = whole
        self.rows = np.asarray(rows, dtype=np.int64)
        self.name = whole.name
        self.revision = hashlib.sha256(whole.revision.encode() + b"\0" + self.rows.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> np.ndarray:
        return self.whole.image(int(self.rows[index]))

    def describe(self, index: int) -> str:
        return self.whole.describe(int(self.rows[index]))


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


class FileImages:
    """Images in files, decoded when they are read.

    The revision hashes each file's path below ``root``, its size and its time of change; contents are not read for it,
    because an image set may hold a million files.
    """

    def __init__(self, name: str, root: str | Path, paths: Sequence[str | Path]) -> None:
        self.name = name
        self.root = Path(root)
        self.paths = Paths(self.root, paths)
        digest = hashlib.sha256()
        for path in self.paths:
            try:
                found = path.stat()
            except OSError as error:
                raise DataError(f"{name}: cannot read {path}: {error.strerror or error}.") from error
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
        self.revision = digest.hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def image(self, index: int) -> np.ndarray:
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as opened:
                return np.asarray(opened.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{self.name}: {path} is not a readable image ({error}). Replace it, or leave such "
                "examples out with --skip-corrupt."
            ) from error

    def describe(self, index: int) -> str:
        return str(self.paths[index])
