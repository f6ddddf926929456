"""Images in tar shards, as WebDataset lays them out, read where they lie: nothing is unpacked.

The members of a sample share a key, what stands before the first dot of the name: ``s0000017.jpg`` and ``s0000017.cls``. One
pass over a shard's headers finds where its members lie; of an image that are fourteen bytes, so that a million of them
are an index of some tens of megabytes, and an image is read when it is used.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from virb.contracts.images import SIZE, UNREADABLE, Digested
from virb.errors import DataError
from virb.images import digests
from virb.images.decode import FORMATS, MAX_BYTES, MAX_PIXELS, shown, to_rgb
from virb.images.listing import is_image_name

BLOCK = 512
SUFFIX = ".tar"


@dataclass(frozen=True)
class Member:
    """A file in a tar: its name, and where its bytes begin and how many they are."""

    name: str
    offset: int
    size: int


def members(path: str | os.PathLike[str]) -> Iterator[Member]:
    """Yield the regular files of an uncompressed tar, in order; their contents are passed over.

    Raises:
        DataError: it cannot be read, is compressed or no tar, or ends within a member.
    """
    try:
        with open(path, "rb") as file:
            total = os.fstat(file.fileno()).st_size
            if file.read(2) == b"\x1f\x8b":
                raise DataError(f"{shown(path)} is compressed. Shards are read where they lie: gunzip it.")
            at, said = 0, dict[str, str]()
            while at + BLOCK <= total:
                file.seek(at)
                head = file.read(BLOCK)
                if not head.strip(b"\0"):
                    return
                size, kind = _number(head[124:136], path), head[156:157]
                if sum(head[:148]) + sum(head[156:]) + 8 * 32 != _number(head[148:156], path):
                    raise DataError(f"{shown(path)} is no tar, or damaged, at byte {at:,}.")
                if "size" in said:
                    size = int(said["size"])
                begin = at + BLOCK
                at = begin + -(-size // BLOCK) * BLOCK
                if begin + size > total:
                    raise DataError(f"{shown(path)} ends within a file: it was cut off. Fetch it again.")
                if kind in (b"L", b"x"):
                    content = file.read(size)
                    said |= {"path": _text(content)} if kind == b"L" else _pax(content)
                    continue
                name = said.get("path") or _name(head)
                if kind in (b"0", b"\0"):
                    yield Member(name, begin, size)
                if kind != b"g":
                    said = {}
            if at < total:
                raise DataError(f"{shown(path)} ends within a file: it was cut off. Fetch it again.")
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read ({error.strerror or error}).") from error


def _number(field: bytes, path: str | os.PathLike[str]) -> int:
    if field[0] & 0x80:  # base 256, for files beyond 8 GiB
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError as error:
        raise DataError(f"{shown(path)} is no tar, or damaged.") from error


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _name(head: bytes) -> str:
    name, prefix = _text(head[:100]), _text(head[345:500]) if head[257:262] == b"ustar" else ""
    return f"{prefix}/{name}" if prefix else name


def _pax(content: bytes) -> dict[str, str]:
    """Return the records "LENGTH KEY=VALUE" of an extended header."""
    found = {}
    while content:
        length = content.partition(b" ")[0]
        if not length.isdigit():
            break
        record = content[len(length) + 1 : int(length) - 1]
        key, _, value = record.partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return found


def key_of(name: str) -> tuple[str, str]:
    """Return a member's key and ending: before and after the first dot of its last part.

    >>> key_of("train/s01.seg.png")
    ('train/s01', 'seg.png')
    """
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


class Keys(Sequence[str]):
    """Many short texts in one block of bytes."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        self.content = b"".join(texts)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        return self.encoded(index).decode("utf-8", "backslashreplace")

    def encoded(self, index: int) -> bytes:
        """Return text ``index`` as it was given."""
        k = range(len(self))[index]
        begin = int(self.ends[k - 1]) if k else 0
        return self.content[begin : int(self.ends[k])]


class TarImages(Digested):
    """The images of tar shards, in order, with the small files beside them.

    Attributes:
        keys: of the samples, in order.
        beside: by ending, the bytes of every sample's other file of it (``cls``, ``json``, ...), in order; only endings
            that all samples have.

    Args:
        endings: of the files beside the images that are read.

    Raises:
        DataError: a shard cannot be read, or a sample has no image or several.
    """

    def __init__(self, name: str, shards: Sequence[Path], *, endings: Sequence[str] = ()) -> None:
        self.name = name
        self.shards = list(shards)
        place: list[np.ndarray] = []
        keys: list[bytes] = []
        found: dict[str, list[bytes]] = {ending: [] for ending in endings}
        for number, shard in enumerate(self.shards):
            rows = []
            with open(shard, "rb") as file:
                for key, image, others in _samples(shard):
                    rows.append((image.offset, image.size))
                    keys.append(key.encode("utf-8", "surrogatepass"))
                    for ending in endings:
                        if ending in others:
                            file.seek(others[ending].offset)
                            found[ending].append(file.read(others[ending].size))
            array = np.array(rows, dtype=[("offset", "<i8"), ("size", "<i4")]).reshape(-1)
            part = np.zeros(len(array), dtype=[("shard", "<u2"), ("offset", "<i8"), ("size", "<i4")])
            part["shard"], part["offset"], part["size"] = number, array["offset"], array["size"]
            place.append(part)
        self._place = np.concatenate(place) if place else np.zeros(0, dtype=[("shard", "<u2")])
        self.keys = Keys(keys)
        self.beside = {ending: rows for ending, rows in found.items() if len(rows) == len(keys)}

    def __len__(self) -> int:
        return len(self._place)

    @property
    def shard_numbers(self) -> np.ndarray:
        """int (N,): the shard of each image."""
        return self._place["shard"]

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image ``index`` as they are stored.

        Raises:
            DataError: the shard cannot be read any more.
        """
        place = self._place[index]
        shard = self.shards[int(place["shard"])]
        try:
            number = os.open(shard, os.O_RDONLY)
            try:
                content = os.pread(number, int(place["size"]), int(place["offset"]))
            finally:
                os.close(number)
        except OSError as error:
            raise DataError(f"{shown(shard)} cannot be read ({error.strerror or error}).") from error
        if len(content) != int(place["size"]):
            raise DataError(f"{shown(shard)} has become shorter while it was read.")
        return content

    def image(self, index: int) -> np.ndarray:
        return decoded(self.encoded(index), self.describe(index))

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        """Those of the encoded bytes, as of files; remembered with each shard."""
        out = np.zeros((len(rows), SIZE), np.uint8)
        shard_of = self._place["shard"][rows]
        for shard in np.unique(shard_of):
            at = np.flatnonzero(shard_of == shard)
            of = rows[at]
            names = [str(int(offset)) for offset in self._place["offset"][of]]

            def one(k: int, of: np.ndarray = of) -> bytes:
                try:
                    return hashlib.sha256(self.encoded(int(of[k]))).digest()
                except DataError:
                    return UNREADABLE

            out[at] = digests.of_parts(self.shards[int(shard)], names, one)
        return out

    def describe(self, index: int) -> str:
        return f"{self.keys[index]} of {shown(self.shards[int(self._place[index]['shard'])])}"


def decoded(content: bytes, what: str) -> np.ndarray:
    """Return the pixels of an encoded image; ``what`` names it in errors.

    Raises:
        DataError: it is no readable image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"it has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read")
            return to_rgb(image)
    except Exception as error:  # decoders raise many kinds of errors on damaged images
        raise DataError(f"{what} is not a readable image ({error}).") from error


def _samples(shard: Path) -> Iterator[tuple[str, Member, dict[str, Member]]]:
    """Yield each sample's key, its image and its other files by ending; members of one key stand together."""
    key, image, others = "", None, dict[str, Any]()
    for member in members(shard):
        this, ending = key_of(member.name)
        if this.rpartition("/")[2].startswith((".", "__MACOSX")) or not this.rpartition("/")[2]:
            continue
        if this != key:
            if image is not None:
                yield key, image, others
            elif key:
                raise DataError(
                    f"{shown(shard)}: the sample {key!r} has no image, only {', '.join(others) or 'nothing'}."
                )
            key, image, others = this, None, {}
        if "." not in ending and is_image_name(f"x.{ending}") and image is None and member.size <= MAX_BYTES:
            image = member
        else:
            others[ending] = member
    if image is not None:
        yield key, image, others
    elif key:
        raise DataError(f"{shown(shard)}: the sample {key!r} has no image, only {', '.join(others) or 'nothing'}.")
