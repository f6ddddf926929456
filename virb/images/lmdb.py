"""Images in LMDB environments, read where they lie: a key and the bytes of an encoded image.

Keys are names (LSUN, BasicSR), or CLASS/NAME, whose first folder is the class; or, as sets of scene texts have them,
``image-000000001`` with the text ``label-000000001`` and, in ``num-samples``, how many there are. Values that are pickled are
refused: a pickle runs code when it is read. Images are in the order of their keys, as bytes. Needs lmdb.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.images import SIZE, UNREADABLE, Digested
from virb.errors import DataError
from virb.images import digests
from virb.images.decode import FORMATS, shown
from virb.images.shards import Keys, decoded

SUFFIXES = (".lmdb", ".mdb")
DATA = "data.mdb"  # in an environment that is a folder
COUNTS = (b"num-samples", b"length", b"__len__")  # keys that say how many images there are
NAMES = b"__keys__"
_MAGIC = bytes.fromhex("dec0efbe")  # of a page of an environment's head, behind sixteen bytes


def is_environment(path: Path) -> bool:
    """Whether an LMDB environment lies at ``path``: a folder with data.mdb, or a file called x.lmdb or x.mdb."""
    file = path / DATA
    if path.suffix.lower() in SUFFIXES and path.is_file():
        file = path
    try:
        with file.open("rb") as head:
            return head.read(20)[16:] in (_MAGIC, _MAGIC[::-1])
    except OSError:
        return False


class LmdbImages(Digested):
    """The images of LMDB environments, one after the other.

    Attributes:
        keys: of the images, in order.
        labels: a text an image, where all have one: beside the image, or the first folder of its key. Else None.

    Raises:
        DataError: an environment cannot be read, holds no images, or pickled values; or lmdb is missing.
    """

    def __init__(self, name: str, environments: Sequence[Path]) -> None:
        self.name = name
        self.environments = list(environments)
        self._held = [_environment(path) for path in self.environments]  # open for as long as this set is there
        keys: list[bytes] = []
        labels: list[str] = []
        counts = []
        for held in self._held:
            own, texts = held.images()
            counts.append(len(own))
            keys += own
            labels += texts
        self.numbers = np.repeat(np.arange(len(counts)), counts)
        self.keys = Keys(keys)
        self.labels: list[str] | None = labels if len(labels) == len(keys) else None

    def __len__(self) -> int:
        return len(self.keys)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image ``index`` as they are stored.

        Raises:
            DataError: they cannot be read any more.
        """
        return self._held[int(self.numbers[index])].value(self.keys.encoded(index))

    def image(self, index: int) -> np.ndarray:
        return decoded(self.encoded(index), self.describe(index))

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        """Those of the encoded bytes, as of files; remembered with each environment."""
        out = np.zeros((len(rows), SIZE), np.uint8)
        for number in np.unique(self.numbers[rows]):
            at = np.flatnonzero(self.numbers[rows] == number)
            of = rows[at]

            def one(k: int, of: np.ndarray = of) -> bytes:
                try:
                    return hashlib.sha256(self.encoded(int(of[k]))).digest()
                except DataError:
                    return UNREADABLE

            names = [self.keys.encoded(int(row)).hex() for row in of]
            out[at] = digests.of_parts(_file(self.environments[number]), names, one)
        return out

    def describe(self, index: int) -> str:
        return f"{self.keys[index]} of {shown(self.environments[int(self.numbers[index])])}"


class _Environment:
    """An environment that is open for reading; a process may open each once, and shares it between its threads."""

    def __init__(self, path: Path) -> None:
        try:
            import lmdb
        except ImportError as error:
            raise DataError(
                f"Reading {shown(path)} needs lmdb, which is not installed: pip install virb[lmdb], or lmdb."
            ) from error
        self.path = path
        self._failure: type[Exception] = lmdb.Error
        try:
            size = _file(path).stat().st_size
            self._open: Any = lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, create=False
            )
            last = self._open.info()["last_pgno"] + 1
            if size < last * self._open.stat()["psize"]:  # reading what is mapped and not there ends the process
                self._open.close()
                raise DataError(f"{shown(path)} ends within its pages: it was cut off. Fetch it again.")
        except (OSError, lmdb.Error) as error:
            raise DataError(f"{shown(path)} cannot be read as LMDB ({error}).") from error

    def value(self, key: bytes) -> bytes:
        """Return what is stored under ``key``.

        Raises:
            DataError: nothing is, or it cannot be read.
        """
        try:
            with self._open.begin() as transaction:
                found = transaction.get(key)
        except self._failure as error:
            raise DataError(f"{shown(self.path)} is damaged at {key!r} ({error}).") from error
        if found is None:
            raise DataError(f"{shown(self.path)} has no {key!r} any more: it was changed while it was read.")
        return bytes(found)

    def images(self) -> tuple[list[bytes], list[str]]:
        """Return the keys of all images, in order, and a text for each; no texts where not all have one.

        Raises:
            DataError: there are none, their values are pickled or no images, or some have a label and others none.
        """
        try:
            with self._open.begin() as transaction, transaction.cursor() as cursor:
                keys = list(cursor.iternext(keys=True, values=False))
        except self._failure as error:
            raise DataError(f"{shown(self.path)} is damaged ({error}).") from error
        numbered = [key for key in keys if re.fullmatch(rb"image-\d+", key)]
        images = numbered or [key for key in keys if key not in (*COUNTS, NAMES)]
        if not images:
            raise DataError(f"{shown(self.path)} holds no images.")
        self._check_values(images)
        self._check_counts(set(keys) & {*COUNTS}, len(images))
        if not numbered:
            folders = [key.partition(b"/") for key in images]
            has_folders = all(rest for _, _, rest in folders)
            return images, [_text(folder) for folder, _, _ in folders] if has_folders else []
        there = set(keys)
        wanted = [b"label-" + key.removeprefix(b"image-") for key in images]
        missing = [key for key in wanted if key not in there]
        if missing and len(missing) < len(wanted):
            raise DataError(
                f"{shown(self.path)}: {len(missing):,} of {len(wanted):,} images have no label, as {_text(missing[0])}."
            )
        return images, [] if missing else [_text(self.value(key)).strip() for key in wanted]

    def _check_values(self, images: Sequence[bytes]) -> None:
        """Refuse an environment whose first, middle and last values are no encoded images."""
        keys = [images[k] for k in sorted({0, len(images) // 2, len(images) - 1})]
        values = [self.value(key) for key in keys]
        for key, value in zip(keys, values, strict=True):
            self._refuse_pickles(key, value)
        if not any(map(_is_image, values)):
            raise DataError(
                f"{shown(self.path)}: the value of {_text(keys[0])!r} is no encoded image; it begins with {values[0][:8]!r}. "
                "Expected JPEG, PNG or other image files as they are, under a key each."
            )

    def _refuse_pickles(self, key: bytes, value: bytes) -> None:
        if re.match(rb"\x80[\x02-\x05]", value) and value.endswith(b"."):
            raise DataError(
                f"{shown(self.path)}: the value of {_text(key)!r} is pickled. A pickle runs code when it is read, so none is. "
                "Write the encoded images themselves under keys CLASS/NAME."
            )

    def _check_counts(self, counts: set[bytes], n: int) -> None:
        """Refuse an environment that says it has another number of images: some are lost, or there are several sizes."""
        for key in sorted(counts):
            value = self.value(key)
            self._refuse_pickles(key, value)
            if value.strip().isdigit() and int(value) != n:
                raise DataError(
                    f"{shown(self.path)}: {_text(key)} says {int(value):,} images, and there are {n:,}. It is not whole, or "
                    "has each image in several sizes."
                )


_lock = threading.Lock()
_shared: weakref.WeakValueDictionary[str, _Environment] = weakref.WeakValueDictionary()


def _environment(path: Path) -> _Environment:
    """Return the environment at ``path``, opened if it is not open."""
    key = os.path.realpath(path)
    with _lock:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = _Environment(path)
        return found


def _file(path: Path) -> Path:
    return path / DATA if path.is_dir() else path


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _is_image(content: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS):
            return True
    except Exception:  # decoders raise many kinds of errors
        return False
