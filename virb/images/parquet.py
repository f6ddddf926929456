"""Images in tables on disk, as Hugging Face publishes or saves image data sets: Parquet, and Arrow.

A folder (with any folders in it) of ``<split>-00000-of-00001.parquet``, as ``train-...`` and ``test-...``; or what
``save_to_disk`` writes, folders with ``state.json`` and ``data-00000-of-00001.arrow``. A row has an image column, a struct of
``bytes`` (an encoded image) and ``path``, or the bytes themselves, and other columns: whole numbers called ``label``,
``fine_label`` or the like, whose class names the file's metadata may list, lists of them, numbers, texts. Needs pyarrow.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.images import SIZE, UNREADABLE, Digested
from virb.errors import DataError, VirbError
from virb.images import digests, splits
from virb.images.decode import shown
from virb.images.shards import decoded

SUFFIXES = (".parquet", ".arrow")
LABELS = ("label", "labels", "fine_label", "coarse_label", "class")
_HELD = 4  # row groups in memory at a time


def table_files(root: Path) -> dict[str, list[Path]]:
    """Return the Parquet or Arrow files below ``root`` by the name of their split, sorted.

    It stands in the file's name (``train-00000-of-00001.parquet``, ``test.parquet``), else it is that of the folder; where
    no file says one, all are "train".
    """
    files = sorted(
        path for path in root.rglob("*") if path.suffix in SUFFIXES and not path.name.startswith((".", "cache-"))
    )
    if any(path.suffix == ".parquet" for path in files):
        files = [path for path in files if path.suffix == ".parquet"]
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(_split_of(path, root), []).append(path)
    return {"train": found[""]} if set(found) == {""} else {name: part for name, part in found.items() if name}


def _split_of(path: Path, root: Path) -> str:
    numbered = re.fullmatch(r"(.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?", path.stem)
    stem = numbered[1] if numbered else path.stem
    for name in (stem, *reversed(path.relative_to(root).parts[:-1])):
        first = re.split(r"[-_.]", name)[0]
        if splits.role(name) or splits.role(first):
            return name if splits.role(name) else first
    return ""


class ParquetImages(Digested):
    """The images of some Parquet or Arrow files, in order; ``label`` (N,) and ``classes`` where the rows have them.

    Args:
        column: of the images; by default the only one that holds some.

    Raises:
        DataError: a file cannot be read, has no image column or another one than the first, or pyarrow is missing.
    """

    def __init__(self, name: str, files: list[Path], *, column: str = "") -> None:
        self.name = name
        self.files = files
        self.column = column
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._open: list[_File] = []
        starts, self._place = [0], []
        for number, path in enumerate(files):
            file = _File(path)
            self.column = self.column or _image_column(path, file.schema)
            wanted = {self.column, *(self._open[0].schema.names if self._open else ())}
            missing = sorted(wanted - set(file.schema.names))
            if missing:
                raise DataError(
                    f"{shown(path)} has no column {missing[0]!r}; its columns: {', '.join(file.schema.names)}."
                )
            for group, n in enumerate(file.sizes):
                self._place.append((number, group))
                starts.append(starts[-1] + n)
            self._open.append(file)
        self._starts = np.array(starts)
        found = label_column(self._open[0].schema) if files else ""
        self.label: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        if found:
            self.label, self.classes = self.labels(found)

    def n_rows(self, n_files: int, skip: int = 0) -> int:
        """Return how many rows ``n_files`` files have, after the first ``skip``."""
        return sum(sum(file.sizes) for file in self._open[skip : skip + n_files])

    @property
    def schema(self) -> Any:
        """pyarrow's schema of the first file."""
        return self._open[0].schema

    def values(self, column: str) -> Any:
        """Return a column of all rows, as one pyarrow array.

        Raises:
            DataError: there is none.
        """
        import pyarrow as pa

        if column not in self.schema.names:
            raise DataError(
                f"{shown(self.files[0])} has no column {column!r}; its columns: {', '.join(self.schema.names)}."
            )
        chunks = [file.read(k, column) for file in self._open for k in range(len(file.sizes))]
        flat = [chunk for part in chunks for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
        return pa.chunked_array(flat, type=self.schema.field(column).type).combine_chunks()

    def labels(self, column: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Return whole numbers int (N,) as classes, and the classes' names; (None, ()) where rows have none, as published
        test splits do. Texts are numbered in their sorted order."""
        import pyarrow as pa

        found = self.values(column)
        if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
            texts = found.to_pylist()
            if any(text is None or not text.strip() for text in texts):
                return None, ()
            names = tuple(sorted(set(texts)))
            number = {name: k for k, name in enumerate(names)}
            return np.array([number[text] for text in texts], dtype=np.int64), names
        label = found.to_numpy(zero_copy_only=False)
        if not np.issubdtype(label.dtype, np.integer) or (len(label) and label.min() < 0):
            return None, ()
        names = class_names(self.schema, column)
        n = int(label.max(initial=-1)) + 1
        return label.astype(np.int64), names if len(names) >= n else tuple(str(k) for k in range(n))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def encoded(self, index: int) -> bytes:
        """Return the bytes of image ``index`` as they are stored.

        Raises:
            DataError: there are none.
        """
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        with self._lock:
            rows = self._groups.get(self._place[group])
            if rows is None:
                number, k = self._place[group]
                rows = self._open[number].read(k, self.column)
                self._groups[self._place[group]] = rows
                while len(self._groups) > _HELD:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(self._place[group])
        found = rows[index - int(self._starts[group])].as_py()
        found = found.get("bytes") if isinstance(found, dict) else found
        if not isinstance(found, bytes):
            raise DataError(f"{self.describe(index)} has no bytes.")
        return found

    def image(self, index: int) -> np.ndarray:
        return decoded(self.encoded(index), self.describe(index))

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Those of the encoded bytes, as of files; remembered with each file."""
        whole = [self._file_digests(number) for number in range(len(self.files))]
        return np.concatenate(whole)[rows] if whole else np.zeros((0, SIZE), np.uint8)

    def _file_digests(self, number: int) -> np.ndarray:
        groups = [g for g, (file, _) in enumerate(self._place) if file == number]
        if not groups:
            return np.zeros((0, SIZE), np.uint8)
        first, last = int(self._starts[groups[0]]), int(self._starts[groups[-1] + 1])

        def one(k: int) -> bytes:
            try:
                return hashlib.sha256(self.encoded(first + k)).digest()
            except DataError:
                return UNREADABLE

        return digests.of_parts(self.files[number], [str(k) for k in range(last - first)], one)

    def describe(self, index: int) -> str:
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        number = self._place[group][0]
        return f"row {index - int(self._starts[self._place.index((number, 0))])} of {shown(self.files[number])}"


class _File:
    """A Parquet file's row groups, or an Arrow file's record batches; the latter are mapped and not read into memory."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise DataError(
                f"Reading {shown(path)} needs pyarrow, which is not installed: pip install virb[parquet], or pyarrow."
            ) from error
        self.path = path
        try:
            if path.suffix == ".parquet":
                self._file: Any = pq.ParquetFile(path)
                self.schema = self._file.schema_arrow
                self.sizes = [self._file.metadata.row_group(k).num_rows for k in range(self._file.num_row_groups)]
            else:
                source = pa.memory_map(str(path))
                try:
                    self._file = pa.ipc.open_stream(source).read_all().to_batches()
                except pa.ArrowInvalid:  # the format for files, which has a footer
                    self._file = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_batches()
                self.schema = self._file[0].schema if self._file else pa.schema([])
                self.sizes = [batch.num_rows for batch in self._file]
        except VirbError:
            raise
        except Exception as error:  # pyarrow's own kinds, which cannot be named without importing it
            kind = "Parquet" if path.suffix == ".parquet" else "Arrow"
            raise DataError(f"{shown(path)} cannot be read as {kind} ({error}).") from error

    def read(self, group: int, column: str) -> Any:
        """Return one column of a row group or record batch."""
        try:
            if isinstance(self._file, list):
                return self._file[group].column(column)
            return self._file.read_row_group(group, columns=[column])[column]
        except Exception as error:
            raise DataError(f"{shown(self.path)} is damaged ({error}).") from error


def image_columns(schema: Any) -> list[str]:
    """Return the columns that hold encoded images."""
    import pyarrow as pa

    def holds_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and holds_images(field.type) for field in kind)
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return [field.name for field in schema if holds_images(field.type)]


def _image_column(path: Path, schema: Any) -> str:
    found = image_columns(schema)
    if len(found) != 1:
        raise DataError(
            f"{shown(path)} has {len(found)} columns of images ({', '.join(schema.names)}); expected one, of bytes or of a "
            "struct with bytes."
        )
    return found[0]


def label_column(schema: Any) -> str:
    """Return the column of whole numbers that is called like labels are, or ""."""
    import pyarrow as pa

    whole = [field.name for field in schema if pa.types.is_integer(field.type)]
    return next((name for name in LABELS if name in whole), "")


def class_names(schema: Any, column: str) -> tuple[str, ...]:
    """Return the names of a column's classes (of one, or of a list of them), where the file's metadata list them."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        feature = feature.get("feature", feature) if isinstance(feature, dict) else feature[0]
        names = feature["names"]
    except (KeyError, ValueError, TypeError, IndexError):
        return ()
    is_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_text else ()
