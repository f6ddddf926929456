"""What an image set is: ordered images, each known by a SHA-256 of its content, and the views of a set that need no decoder.

An image in a file is known by the bytes of the file, one in an array by its shape, type and bytes. Names, folders and
times are no part of it: equal bytes elsewhere are the same image, other bytes under the same name are another.
:mod:`virb.images.sets` has the sets of arrays and of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from virb.errors import VirbError
from virb.system.threads import n_cores

SIZE = 32  # bytes of a SHA-256
UNREADABLE = bytes(SIZE)  # stands for an image that cannot be read, which equals no other


@runtime_checkable
class ImageSet(Protocol):
    """An ordered set of RGB images.

    ``name`` is for people. The identity is content: ``digests`` are the SHA-256 of each image, uint8 (N, 32), and
    ``digest`` a hash over them in order; it is equal for two sets that hold the same images in the same order, and for
    no others. :class:`Digested` gives both to a class that has the rest.
    """

    @property
    def name(self) -> str: ...

    @property
    def digests(self) -> np.ndarray: ...

    @property
    def digest(self) -> str: ...

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """Return image ``index`` as uint8 (H, W, 3)."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of image ``index``."""
        ...

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the digests of the images ``rows`` (n,) alone, uint8 (n, 32)."""
        ...

    def describe(self, index: int) -> str:
        """Return what an error message should call image ``index`` (a file's path, a frame's number)."""
        ...


@dataclass(frozen=True)
class Accounting:
    """What became of every file below ``root``.

    ``left_out`` has for each reason how many files, and one of them.
    """

    root: str
    found: int
    used: int
    left_out: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every file is used."""
        return not self.left_out

    def line(self) -> str:
        """Return the account in one line."""
        said = f"{self.found:,} files found, {self.used:,} used"
        reasons = [f"{n:,} {reason} (as {first})" for reason, (n, first) in self.left_out.items()]
        return said + (f"; left out: {', '.join(reasons)}" if reasons else "")

    def as_dict(self) -> dict[str, Any]:
        """Return what a record keeps of it."""
        left_out = {reason: n for reason, (n, _) in self.left_out.items()}
        return {"found": self.found, "used": self.used, "left_out": left_out}

    def of_split(self, n: int) -> Accounting:
        """Return the account of one split, which ``n`` of the used files belong to; the others are another's."""
        return replace(self, found=self.found - self.used + n, used=n)


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
        of_rows: np.ndarray = found[rows]
        return of_rows

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


class ImageSubset(Digested):
    """Some images of a larger set, in the order of ``rows``; so that a cache holds those alone."""

    def __init__(self, whole: ImageSet, rows: np.ndarray) -> None:
        self.whole = whole
        self.rows = np.asarray(rows, dtype=np.int64)
        self.name = whole.name

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> np.ndarray:
        return self.whole.image(int(self.rows[index]))

    def size(self, index: int) -> tuple[int, int]:
        return self.whole.size(int(self.rows[index]))

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        return self.whole.digest_rows(self.rows[rows])

    def describe(self, index: int) -> str:
        return self.whole.describe(int(self.rows[index]))


class IdentifiedImages(Digested):
    """Anything with ``name``, a length, ``image(index)`` and perhaps ``describe(index)``, known by its pixels."""

    def __init__(self, images: Any) -> None:
        self.images = images
        self.name = str(images.name)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        pixels: np.ndarray = self.images.image(index)
        return pixels

    def describe(self, index: int) -> str:
        describe = getattr(self.images, "describe", None)
        return str(describe(index)) if describe is not None else f"image {index} of {self.name}"


class CentreSquares(Digested):
    """The centre square of each of ``whole``'s images; its side is ``share`` (above 0, at most 1) of the shorter side."""

    def __init__(self, whole: ImageSet, share: float) -> None:
        self.whole = whole
        self.share = share
        self.name = whole.name

    def __len__(self) -> int:
        return len(self.whole)

    def image(self, index: int) -> np.ndarray:
        image = self.whole.image(index)
        height, width = image.shape[:2]
        side = self._side(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return image[top : top + side, left : left + side]

    def size(self, index: int) -> tuple[int, int]:
        side = self._side(*self.whole.size(index))
        return side, side

    def _side(self, height: int, width: int) -> int:
        return max(1, round(self.share * min(height, width)))

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        said = f"centre square {self.share!r}".encode()
        return stacked(
            [
                hashlib.sha256(row.tobytes() + said).digest() if row.any() else UNREADABLE
                for row in self.whole.digest_rows(rows)
            ]
        )

    def describe(self, index: int) -> str:
        return self.whole.describe(index)


def centre_squares(images: ImageSet, share: float) -> ImageSet:
    """Return the set of the centre squares whose side is ``share`` of the shorter side; square images stay what they are.

    Resized to an encoder's size, a square of share 1 is what resizing the shorter side and cropping the centre gives, but
    for a shift of less than a pixel, where a side or a half of it is rounded to whole ones.
    """
    height, width = getattr(images, "one_size", None) or (0, 1)
    if share == 1 and height == width:
        return images
    return CentreSquares(images, share)
