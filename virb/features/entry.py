"""One entry of the feature cache: a folder with one array a part, and ``state.json``, which vouches for its rows.

``state.json`` names each part's shape and type and the CRC-32 of every block of rows (a block is a batch). The checksums
are compared when an entry is opened, once a process and file: what changed on the disk is found, and computed again from
the first damaged block on. Rows are written through the file, never through a map of it: a full disk or a quota is then
an error to be told, and not a signal that ends the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from virb.errors import VirbError
from virb.system import leases
from virb.system.files import atomic_write

FORMAT = "virb-features/1"
_verified: dict[tuple[Any, ...], None] = {}  # files of which this process has compared or written every row


@dataclass(frozen=True)
class Features:
    """Cached rows of one layer: ``parts`` are arrays whose first axis is the image; one part for an embedding."""

    layer: str
    parts: tuple[np.ndarray, ...]

    @property
    def embedding(self) -> np.ndarray:
        """The embedding, float32 (N, D)."""
        return self.parts[0]


@dataclass
class Part:
    """An array of the entry: its file's name, the shape of a row, its type, and a checksum for each block of rows."""

    name: str
    row: tuple[int, ...]
    dtype: np.dtype
    sums: list[int] = field(default_factory=list)

    @property
    def row_bytes(self) -> int:
        return math.prod(self.row) * self.dtype.itemsize


class Entry:
    """One folder of the cache, for ``n`` images encoded in batches of ``block``. It is held until it is collected.

    ``encoder`` and ``images`` are names for people; the key is the folder's name.
    """

    def __init__(self, folder: Path, layer: str, n: int, block: int, *, encoder: str = "", images: str = "") -> None:
        self.folder = folder
        self.layer = layer
        self.n = n
        self.block = block
        self.about = {"layer": layer, "encoder": encoder, "images": images}
        self.rows = 0
        self.parts: list[Part] = []
        self._files: list[IO[bytes]] = []
        self._lease: leases.Lease | None = None
        self._read_state()

    def hold(self) -> None:
        """Keep the folder from being removed, until this entry and the arrays that it opened are gone."""
        with self._told():
            self._lease = leases.hold(self.folder, create=True)
        self._read_state()

    @contextlib.contextmanager
    def lock(self) -> Iterator[str | None]:
        """Be the one process that computes this entry, which must be held. Yields what :meth:`check` found."""
        from filelock import FileLock

        with self._told():
            lock = FileLock(self.folder / "lock")
            lock.acquire()
        try:
            self._read_state()  # another process may have done the work while this one waited
            yield self.check(self.rows)
        finally:
            lock.release()
            for file in self._files:
                with contextlib.suppress(OSError):  # what was not saved is not vouched for
                    file.close()
            self._files = []

    # -- what is there

    def _read_state(self) -> None:
        self.rows, self.parts = 0, []
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            rows, parts = state["rows"], [self._part(k, item) for k, item in enumerate(state["parts"])]
            if (state["format"], state["n"], state["block"]) != (FORMAT, self.n, self.block):
                return
            n_blocks = -(-rows // self.block)
            if type(rows) is int and 0 < rows <= self.n and parts and all(len(p.sums) == n_blocks for p in parts):
                self.rows, self.parts = rows, parts
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # none, or another program's: nothing is there

    def _part(self, k: int, item: Any) -> Part:
        part = Part(self._name(k), tuple(map(int, item["row"])), np.dtype(item["dtype"]), list(map(int, item["sums"])))
        if part.dtype.kind != "f" or min(part.row, default=1) < 1:
            raise ValueError(item)
        return part

    def _name(self, k: int) -> str:
        return f"{'embedding' if self.layer == 'embedding' else f'level{k}'}.npy"

    def is_left(self) -> bool:
        """Whether arrays lie in the folder that nothing vouches for."""
        return not self.rows and (self.folder / "state.json").exists()

    def check(self, wanted: int) -> str | None:
        """Compare the first ``wanted`` rows with their checksums and keep those before the first that differs.

        Returns what was found, in words; None if all is well.
        """
        problem = None
        for part in self.parts:
            path = self.folder / part.name
            try:
                with path.open("rb") as file:
                    start = self._data_start(file, part)
                    blocks = -(-min(wanted, self.rows) // self.block)
                    mark = _mark(path, part.sums[:blocks])
                    if mark in _verified:
                        continue
                    file.seek(start)
                    for index in range(blocks):
                        n = (min((index + 1) * self.block, self.rows) - index * self.block) * part.row_bytes
                        if zlib.crc32(file.read(n)) != part.sums[index]:
                            problem = f"rows {index * self.block} and on of {part.name} have changed on the disk"
                            self._keep(index)
                            break
                    else:
                        _verified[mark] = None
            except (OSError, ValueError) as error:
                problem = (
                    f"{part.name} is {'missing' if isinstance(error, FileNotFoundError) else f'damaged ({error})'}"
                )
                self._keep(0)
                break
        return problem

    def _data_start(self, file: IO[bytes], part: Part) -> int:
        """Return where the rows begin, if the file is the array that the state says."""
        header = self._header(part)
        if file.read(len(header)) == header:
            start = len(header)
        else:  # of another NumPy, or of another array
            file.seek(0)
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
            if (shape, is_fortran, dtype) != ((self.n, *part.row), False, part.dtype):
                raise ValueError(f"an array {shape} of {dtype}")
        size = os.fstat(file.fileno()).st_size
        if size != start + self.n * part.row_bytes:
            raise ValueError(f"{size} bytes")
        return start

    def _header(self, part: Part) -> bytes:
        """Return the beginning of a part's file, up to its rows.

        Files are compared with it: NumPy reads a header by Python's parser, which in threads side by side fails now and then (in
        Python 3.11, "AST constructor recursion depth mismatch").
        """
        file = io.BytesIO()
        descr, shape = np.lib.format.dtype_to_descr(part.dtype), (self.n, *part.row)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        return file.getvalue()

    def _keep(self, n_blocks: int) -> None:
        self.rows = min(self.rows, n_blocks * self.block)
        for part in self.parts:
            del part.sums[n_blocks:]
        if not self.rows:
            self.parts = []

    def open(self) -> Features:
        """Map the rows into memory; the entry is held as long as an array or a view of it is there."""
        parts = tuple(self._mapped(part) for part in self.parts)
        return Features(self.layer, tuple(leases.keep(part, self._lease) for part in parts))

    def _mapped(self, part: Part) -> np.ndarray:
        path = self.folder / part.name
        with path.open("rb") as file:
            start = self._data_start(file, part)
        return np.memmap(path, dtype=part.dtype, mode="r", offset=start, shape=(self.n, *part.row))

    # -- writing

    def declare(self, maps: Sequence[np.ndarray]) -> None:
        """Say what rows will be written, by those of the first batch; pyramids are kept as float16."""
        if not self.parts:
            dtype = np.dtype("<f4" if self.layer == "embedding" else "<f2")
            self.parts = [Part(self._name(k), tuple(m.shape[1:]), dtype) for k, m in enumerate(maps)]

    def missing_bytes(self, wanted: int) -> int:
        """Return how much the rows up to ``wanted`` still take on the disk."""
        return (min(wanted, self.n) - self.rows) * sum(part.row_bytes for part in self.parts)

    def put(self, start: int, stop: int, maps: Sequence[np.ndarray]) -> None:
        """Write the rows ``start:stop`` of a batch, which follow those that are there.

        float16 keeps a pyramid to a tenth of a percent at worst.
        """
        self.declare(maps)
        with self._told():
            if not self._files:
                self._files = [self._create(part) for part in self.parts]
            for part, file, rows in zip(self.parts, self._files, maps, strict=True):
                if part.dtype.itemsize == 2:
                    # Beyond float16's range a value would become inf and poison the head; the largest one serves as well.
                    rows = np.clip(rows, -65504, 65504)
                content = np.ascontiguousarray(rows, dtype=part.dtype).data.cast("B")
                file.seek(-(self.n - start) * part.row_bytes, os.SEEK_END)
                file.write(content)
                part.sums[start // self.block :] = [zlib.crc32(content)]
        self.rows = stop

    def _create(self, part: Part) -> IO[bytes]:
        path = self.folder / part.name
        if self.rows:
            return path.open("r+b")
        (self.folder / "state.json").unlink(missing_ok=True)  # it vouched for what was there
        path.unlink(missing_ok=True)  # others may have mapped it: the file they read stays as it is
        file = path.open("x+b")
        file.write(self._header(part))
        file.truncate(file.tell() + self.n * part.row_bytes)
        return file

    def save(self) -> None:
        """Make the rows so far durable: the arrays first, then the state that vouches for them."""
        if not self._files:
            return
        with self._told():
            for file in self._files:
                file.flush()
                os.fsync(file.fileno())
        parts = [{"row": part.row, "dtype": part.dtype.str, "sums": part.sums} for part in self.parts]
        state = {"format": FORMAT, "rows": self.rows, "n": self.n, "block": self.block, "parts": parts, **self.about}
        with atomic_write(self.folder / "state.json") as out:
            out.write(json.dumps(state).encode())
        for part in self.parts:
            _verified[_mark(self.folder / part.name, part.sums)] = None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say what a failed write was about."""
        try:
            yield
        except OSError as error:
            raise VirbError(
                f"The features of {self.about['encoder'] or 'an encoder'} cannot be written to the cache "
                f"{self.folder.parent}: {error.strerror or error}. Free some space there (virb data cache --clear), raise "
                "the quota, or name another folder in VIRB_CACHE."
            ) from error


def _mark(path: Path, sums: Sequence[int]) -> tuple[Any, ...]:
    """Return what a file is known by while nobody writes to it."""
    found = path.stat()
    return path, found.st_ino, found.st_size, found.st_mtime_ns, hash(tuple(sums))
