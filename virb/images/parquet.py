"""Images in Parquet files, laid out as Hugging Face publishes image data sets.

A folder (with any folders in it) of ``<split>-00000-of-00001.parquet``, as ``train-...`` and ``test-...``. A row has an image
column, a struct of ``bytes`` (an encoded image) and ``path``, or the bytes themselves, and perhaps whole numbers called
``label``, ``fine_label`` or the like, whose class names the file's metadata may list. Needs pyarrow.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from virb.errors import DataError, VirbError
from virb.images import digests
from virb.images.decode import FORMATS, MAX_PIXELS, shown, to_rgb

SUFFIX = ".parquet"
LABELS = ("label", "labels", "fine_label", "coarse_label", "class")
_HELD = 4  # row groups in memory at a time


def parquet_files(root: Path, split: str) -> list[Path]:
    """Return the Parquet files of a split below ``root``, sorted: those called ``<split>-...`` or in a folder of its name.

    Where no file names a split, all are of the split "train".
    """
    files = sorted(path for path in root.rglob(f"*{SUFFIX}") if not path.name.startswith("."))
    named = {path: _split_of(path, root) for path in files}
    if split == "train" and not any(named.values()):
        return files
    return [path for path, name in named.items() if name == split]


def _split_of(path: Path, root: Path) -> str:
    for name in (path.stem, *path.relative_to(root).parts[:-1]):
        for split in ("train", "validation", "valid", "val", "test"):
            if name == split or name.startswith((f"{split}-", f"{split}_", f"{split}.")):
                return split
    return ""


class ParquetImages(digests.Digested):
    """The images of some Parquet files, in order; ``label`` (N,) and ``classes`` where the rows have them.

    Raises:
        DataError: a file cannot be read, has no image column or another one than the first, or pyarrow is missing.
    """

    def __init__(self, name: str, files: list[Path]) -> None:
        try:
            import pyarrow.parquet as pq
        except ImportError as error:
            raise DataError("Reading Parquet needs pyarrow, which is not installed: `pip install pyarrow`.") from error
        self.name = name
        self.files = files
        self._lock = threading.Lock()
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._open: list[Any] = []
        starts, self._place = [0], []
        labels: list[np.ndarray] = []
        self.classes: tuple[str, ...] = ()
        self.column, label_column = "", ""
        for number, path in enumerate(files):
            try:
                file = pq.ParquetFile(path)
                if not self.column:
                    self.column, label_column, self.classes = _columns(path, file.schema_arrow)
                for group in range(file.num_row_groups):
                    self._place.append((number, group))
                    starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
                if label_column:
                    labels.append(file.read(columns=[label_column])[label_column].to_numpy())
            except VirbError:
                raise
            except Exception as error:  # pyarrow's own kinds, which cannot be named without importing it
                raise DataError(f"{shown(path)} cannot be read as Parquet ({error}).") from error
            self._open.append(file)
        self._starts = np.array(starts)
        self.label: np.ndarray | None = None
        if label_column:
            self.label = np.concatenate(labels)
            if not np.issubdtype(self.label.dtype, np.integer) or (len(self.label) and self.label.min() < 0):
                self.label, self.classes = None, ()  # unlabelled rows, as published test splits have them
            else:
                n = int(self.label.max(initial=-1)) + 1
                if len(self.classes) < n:
                    self.classes = tuple(str(k) for k in range(n))
                self.label = self.label.astype(np.int64)

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
                try:
                    rows = self._open[number].read_row_group(k, columns=[self.column])[self.column]
                except Exception as error:
                    raise DataError(f"{shown(self.files[number])} is damaged ({error}).") from error
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
        from PIL import Image

        content = self.encoded(index)
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"it has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read")
                return to_rgb(image)
        except Exception as error:  # decoders raise many kinds of errors on damaged images
            raise DataError(f"{self.describe(index)} is not a readable image ({error}).") from error

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Those of the encoded bytes, as of files; remembered with each file."""
        whole = [self._file_digests(number) for number in range(len(self.files))]
        return np.concatenate(whole)[rows] if whole else np.zeros((0, digests.SIZE), np.uint8)

    def _file_digests(self, number: int) -> np.ndarray:
        groups = [g for g, (file, _) in enumerate(self._place) if file == number]
        if not groups:
            return np.zeros((0, digests.SIZE), np.uint8)
        first, last = int(self._starts[groups[0]]), int(self._starts[groups[-1] + 1])

        def one(k: int) -> bytes:
            try:
                return hashlib.sha256(self.encoded(first + k)).digest()
            except DataError:
                return digests.UNREADABLE

        return digests.of_parts(self.files[number], [str(k) for k in range(last - first)], one)

    def describe(self, index: int) -> str:
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        number = self._place[group][0]
        return f"row {index - int(self._starts[self._place.index((number, 0))])} of {shown(self.files[number])}"


def _columns(path: Path, schema: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return the image column, the label column ("" if there is none) and the classes' names, if the file lists them."""
    import pyarrow as pa

    def holds_images(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and holds_images(field.type) for field in kind)
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    images = [field.name for field in schema if holds_images(field.type)]
    if len(images) != 1:
        raise DataError(
            f"{shown(path)} has {len(images)} columns of images ({', '.join(schema.names)}); expected one, of bytes or of a "
            "struct with bytes."
        )
    whole = [field.name for field in schema if pa.types.is_integer(field.type)]
    label = next((name for name in LABELS if name in whole), "")
    names: Any = ()
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        pass
    is_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return images[0], label, tuple(names) if is_text else ()
