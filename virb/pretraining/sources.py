"""Where images to pretrain on come from: named sets, folders, lists, and several of them pooled."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from virb import registry
from virb.contracts.dataset import DataSet
from virb.errors import DataError, UsageError
from virb.images.decode import read_bytes, shown, to_rgb
from virb.images.digests import Digested, of_files
from virb.images.folders import ImageFolder, scan_image_folder
from virb.images.listing import Accounting, class_folders, list_images
from virb.images.parquet import ParquetImages, parquet_files
from virb.images.sets import IMAGE_SUFFIXES, FileImages, ImageSet
from virb.pretraining import decoding
from virb.pretraining.data import PretrainingData
from virb.pretraining.decoding import ProgressCallback
from virb.pretraining.kept import Unreadable
from virb.pretraining.pixels import DecodedPixels, JoinedPixels, KeptPixels, Pixels, SelectedPixels
from virb.system.threads import n_cores

TRAIN, HELD_OUT = "train", ("test", "val", "valid", "validation")  # folders that are splits and not classes
KEPT_LIMIT_BYTES = 32 * 2**30  # a folder that decodes to more is read image by image instead of being kept decoded


def named() -> list[str]:
    """Return the names of the data sets that can be found (files that assign DATASET)."""
    return registry.names("datasets")


def load(
    source: str,
    *,
    short_side: int | None = None,
    root: Path | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> PretrainingData:
    """Return the images called ``source``: the name of a data set, a folder, a file list, or several of them pooled.

    Args:
        source: the name of a data set (virb list datasets); a folder of images (if it has subfolders, each is a class, and
            what lies beside them is left out; with train/ and test/ in it, train/ is read); a folder of Parquet files as Hugging Face publishes them (train-*.parquet); a text file with one path a line, or a path, a tab and a class; "torchvision:CIFAR10"
            (the train part, below ``root`` as torchvision puts it). "A:3000+B:0.25" pools 3000 images of A and a quarter of B, drawn by ``seed``,
            without labels.
        short_side: in pixels, to which larger images are reduced (antialiased) when they are read; None: as they are.
        root: the folder of data sets (default $VIRB_DATA), for torchvision's and for folders and lists that are not here.
        skip_unreadable: leave unreadable files out instead of refusing the folder.
        progress: called as ``progress(what, done, total)`` while images are decoded.

    Raises:
        DataError: the source is unknown, empty, has an empty class folder, or holds unreadable images.
    """
    if source in named():
        found: DataSet = registry.load("datasets", source)
        return found.load(progress)
    path = _found(source, root)
    if "+" in source and not path.exists():
        return _pooled(source, short_side, root, skip_unreadable, seed, progress)
    if source.startswith("torchvision:"):
        place = root or os.environ.get("VIRB_DATA")
        if not place:
            raise DataError(f"--data {source}: where is it? Pass --data-root DIR, or set VIRB_DATA.")
        return _torchvision(source.partition(":")[2], Path(place), short_side, skip_unreadable, progress)
    whole, _, count = source.rpartition(":")
    if not path.exists() and count.isdigit() and whole in named():
        raise DataError(
            f"--data {source}: numbers of images are for sets that are pooled (A:3000+B:200). For {count} images of one "
            f"set: --data {whole} --limit {count}."
        )
    if not path.exists():
        raise DataError(
            f"--data {source}: there is no such folder or file, and no set of that name ({', '.join(named())}, "
            "torchvision:NAME). Name one of them, or a folder of images."
        )
    if path.is_dir() and (files := parquet_files(path, TRAIN)):
        rows = ParquetImages(path.resolve().name, files)
        data = _from_images(rows, short_side, skip_unreadable, progress, label=rows.label, classes=rows.classes)
        files_said = "a Parquet file" if len(files) == 1 else f"{len(files)} Parquet files"
        return replace(data, notes=(f"{shown(path)}: {len(rows):,} images in {files_said} of {TRAIN}.",))
    if not path.is_dir():
        return _file_list(path, short_side, skip_unreadable, progress)
    return _folder(path, short_side, skip_unreadable, progress)


def _found(source: str, root: Path | None) -> Path:
    """The path of a source; one that is not here, and no absolute one, is looked for below the folder of data sets."""
    path = Path(source).expanduser()
    place = root or os.environ.get("VIRB_DATA")
    if path.is_absolute() or path.exists() or not place:
        return path
    return Path(place) / path if (Path(place) / path).exists() else path


def _pooled(
    source: str,
    short_side: int | None,
    root: Path | None,
    skip_unreadable: bool,
    seed: int,
    progress: ProgressCallback | None,
) -> PretrainingData:
    parts = []
    for text in source.split("+"):
        name, amount = split_amount(text)
        part = load(name, short_side=short_side, root=root, skip_unreadable=skip_unreadable, progress=progress)
        if amount:
            n = round(float(amount) * len(part)) if "." in amount else int(amount)
            if not 1 <= n <= len(part):
                raise UsageError(f"--data {source}: {name} has {len(part)} images; {n} are asked for.")
            part = part.limited(n, seed)
        parts.append(part)
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    revision = hashlib.sha256("\0".join(part.revision for part in parts).encode()).hexdigest()
    pixels, native = (
        JoinedPixels(tuple(SelectedPixels(read(part), part.selection) for part in parts), starts)
        for read in (lambda part: part.pixels, lambda part: part.native or part.pixels)
    )
    notes = tuple(note for part in parts for note in part.notes)
    sizes = {part.size for part in parts}
    return PretrainingData(
        source,
        revision,
        pixels,
        np.arange(int(starts[-1])),
        sizes.pop() if len(sizes) == 1 else None,
        short_side=short_side,
        native=native,
        notes=notes,
    )


def split_amount(text: str) -> tuple[str, str]:
    """Split "NAME:3000" or "NAME:0.25" of a pooled source; the amount is empty where there is none."""
    name, _, amount = text.rpartition(":")
    if name and re.fullmatch(r"\d+|[01]?\.\d+", amount):
        return name, amount
    return text, ""


def _from_images(
    images: ImageSet,
    short_side: int | None,
    skip_unreadable: bool,
    progress: ProgressCallback | None,
    *,
    label: np.ndarray | None,
    classes: tuple[str, ...],
    paths: Sequence[str] = (),
    limit: int = KEPT_LIMIT_BYTES,
) -> PretrainingData:
    """Any image set, reduced to ``short_side``: decoded once into the cache, or, beyond ``limit`` bytes, as it is read."""
    size: int | None = None
    if _decoded_bytes(images, short_side) > limit:
        bad: Sequence[Unreadable] = decoding.unreadable(images, progress)
        pixels: Pixels = DecodedPixels(images, short_side, n_cores())
    else:
        found = decoding.decoded(images, short_side, progress)
        bad, pixels = found.bad, KeptPixels(found)
        side = int(found.sizes[0, 0])
        if found.is_uniform and found.sizes[0, 1] == side and (short_side is None or side < short_side):
            size = side  # their own: nothing was reduced
    keep = decoding.readable(images, bad, skip_unreadable)
    # By content: the same images in another place, or copied today, are the same data set, at whatever size they are kept.
    digest = hashlib.sha256(np.ascontiguousarray(images.digests[keep]).tobytes())
    if label is not None:
        digest.update(label[keep].tobytes())
    return PretrainingData(
        images.name,
        digest.hexdigest(),
        pixels,
        keep,
        size,
        None if label is None else label[keep],
        classes,
        tuple(paths[i] for i in keep) if paths else (),
        short_side=short_side,
        native=DecodedPixels(images, None, n_cores()),
    )


def _decoded_bytes(images: ImageSet, short_side: int | None, n_looked_at: int = 64) -> float:
    """About how many bytes the set takes when it is decoded, by some of its images."""
    looked_at = np.unique(np.linspace(0, len(images) - 1, n_looked_at).astype(int))
    counts = [found.nbytes for found in decoding.some(images, looked_at, short_side) if not isinstance(found, str)]
    return len(images) * float(np.mean(counts)) if counts else 0.0


def _folder(
    root: Path,
    short_side: int | None,
    skip_unreadable: bool,
    progress: ProgressCallback | None,
    limit: int = KEPT_LIMIT_BYTES,
) -> PretrainingData:
    root, found, notes = _list_folder(root)
    files = FileImages(root.resolve().name, root, found.paths)
    data = _from_images(
        files,
        short_side,
        skip_unreadable,
        progress,
        label=found.labels if found.classes else None,
        classes=found.classes,
        paths=found.paths,
        limit=limit,
    )
    return replace(data, notes=notes)


def _list_folder(root: Path) -> tuple[Path, ImageFolder, tuple[str, ...]]:
    """Return the folder that is read, what is used of it, and what the user should know of that.

    A folder with train/ and test/ (or val/) in it is a data set with its splits: train/ alone is read.
    """
    notes: list[str] = []
    names = set(class_folders(root))
    others = sorted(names & set(HELD_OUT))
    if TRAIN in names and others:
        notes.append(f"{shown(root)} has the splits {', '.join([TRAIN, *others])}; {TRAIN}/ alone is trained on.")
        root, names = root / TRAIN, set(class_folders(root / TRAIN))
    if names:
        found = scan_image_folder(root)
    else:
        listing = list_images(root)
        if not listing.paths:
            raise DataError(
                f"{shown(root)} holds no images ({', '.join(IMAGE_SUFFIXES)}). Name the folder that has them."
            )
        paths = tuple(listing.paths)
        found = ImageFolder(root, (), paths, np.zeros(len(paths), np.int64), Accounting.of(root, [listing]))
    if not found.accounting.is_whole:
        notes.append(f"{shown(root)}: {found.accounting.line()}.")
    return root, found, tuple(notes)


def _file_list(
    path: Path, short_side: int | None, skip_unreadable: bool, progress: ProgressCallback | None
) -> PretrainingData:
    """A text file with one image a line, relative to its folder; after a tab, the class (all lines or none)."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the file list {shown(path)}: {error}.") from error
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise DataError(f"The file list {path} names no image.")
    if len({len(row) for row in rows}) > 1 or len(rows[0]) > 2:
        raise DataError(f"{path}: expected one path a line, or on all lines a path, a tab and a class.")
    paths = [row[0] for row in rows]
    label, classes = None, tuple(sorted({row[1] for row in rows})) if len(rows[0]) == 2 else ()
    if classes:
        by_path: dict[str, str] = {}
        for listed, name in rows:
            if by_path.setdefault(listed, name) != name:
                raise DataError(
                    f"{path}: {listed} is listed under two classes, {by_path[listed]!r} and {name!r}. Keep one of them."
                )
        number = {name: k for k, name in enumerate(classes)}
        label = np.array([number[row[1]] for row in rows], dtype=np.int64)
    # An absolute path stands as it is: joining it to the folder leaves it.
    files = FileImages(path.stem, path.parent, paths)
    return _from_images(files, short_side, skip_unreadable, progress, label=label, classes=classes, paths=paths)


class TorchvisionImages(Digested):
    """A data set of torchvision's, where it puts it under ``root``; nothing is downloaded."""

    def __init__(self, name: str, root: Path) -> None:
        import inspect

        import torchvision.datasets

        known: dict[str, Any] = {k: v for k, v in vars(torchvision.datasets).items() if inspect.isclass(v)}
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean torchvision:{near[0]}?" if near else ""
            raise DataError(f"torchvision has no data set {name!r}.{hint}")
        takes = inspect.signature(known[name].__init__).parameters
        given: dict[str, Any] = {}
        for parameter, value in (("train", True), ("split", "train"), ("image_set", "train")):
            if parameter in takes:
                given[parameter] = value
        if "download" in takes:
            given["download"] = False
        try:
            self.dataset = known[name](str(root), **given)
        except (RuntimeError, OSError, ValueError, TypeError, ImportError) as error:
            raise DataError(f"torchvision's {name} cannot be read from {root}: {error}") from error
        self.name = name.lower()
        self.root = root

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> np.ndarray:
        found = self.dataset[index]
        found = found[0] if isinstance(found, tuple) else found
        if not hasattr(found, "convert"):
            raise DataError(f"{self.describe(index)} is not an image but {type(found).__name__}.")
        try:
            return to_rgb(found)
        except (DataError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.describe(index)} is not a readable image ({error}).") from error

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        """The digests of the files where the data set lists one an image, else those of its pixels."""
        files = next(filter(None, (self._files(key) for key in ("samples", "_image_files", "images", "imgs"))), None)
        if files is None:
            return super().compute_digests(rows)
        return of_files(self.root, [files[int(row)] for row in rows])

    def _files(self, attribute: str) -> list[Path] | None:
        found = getattr(self.dataset, attribute, None)
        if not isinstance(found, list) or len(found) != len(self) or not len(self):
            return None
        items = [item[0] if isinstance(item, tuple) else item for item in found]
        is_file = all(isinstance(item, str | Path) for item in items) and Path(items[0]).is_file()
        return [Path(item) for item in items] if is_file else None

    def describe(self, index: int) -> str:
        return f"image {index} of torchvision's {self.name}"

    def labels(self) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """The classes as the data set lists them; (None, ()) where it has no list of one number an image."""
        for attribute in ("targets", "labels", "_labels"):
            found = getattr(self.dataset, attribute, None)
            if found is None:
                continue
            label = np.asarray(found)
            if label.shape == (len(self),) and np.issubdtype(label.dtype, np.integer) and label.min() >= 0:
                names = getattr(self.dataset, "classes", None) or [str(k) for k in range(int(label.max()) + 1)]
                return label.astype(np.int64), tuple(str(name) for name in names)
        return None, ()


def _torchvision(
    name: str, root: Path, short_side: int | None, skip_unreadable: bool, progress: ProgressCallback | None
) -> PretrainingData:
    images = TorchvisionImages(name, root)
    label, classes = images.labels()
    return _from_images(images, short_side, skip_unreadable, progress, label=label, classes=classes)
