"""Where images to pretrain on come from: named sets, folders, lists, and several of them pooled."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from virb import registry
from virb.contracts.dataset import DataSet
from virb.contracts.examples import DataContext
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError, UsageError
from virb.images.decode import read_bytes, shown
from virb.images.folders import ImageFolder, scan_image_folder
from virb.images.listing import account, class_folders, list_images
from virb.images.of_torchvision import TorchvisionImages
from virb.images.readers import of_layouts, recognised
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
            what lies beside them is left out; with train/ and test/ in it, train/ is read); any layout that a reader knows (virb list readers): Parquet, WebDataset shards, a CSV, ..., of which the train split is read; a text file with one path a line, or a path, a tab and a class; "torchvision:CIFAR10"
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
    known = recognised(path)
    if known is not None:
        return _layout(path, *known, short_side, skip_unreadable, progress)
    if not path.is_dir():
        return _file_list(path, short_side, skip_unreadable, progress)
    return _folder(path, short_side, skip_unreadable, progress)


def _layout(
    path: Path,
    reader: Reader,
    found: Recognised,
    short_side: int | None,
    skip_unreadable: bool,
    progress: ProgressCallback | None,
) -> PretrainingData:
    """The train split of a set whose layout a reader knows, by the reader that end tasks are read by."""
    name = path.resolve().name
    place = path.parent if path.is_file() else path
    known = {option.name for option in reader.options}
    options = {option.name: option.default for option in reader.options} | dict(found.options)
    options |= {key: value for key, value in (("place", name), ("validation", "")) if key in known}
    examples = reader.read(DataContext(places={name: place}), TRAIN, **options)
    data = _from_images(
        examples.images,
        short_side,
        skip_unreadable,
        progress,
        label=np.asarray(examples.targets, dtype=np.int64) if found.target == "class" else None,
        classes=examples.classes if found.target == "class" else (),
        paths=list(examples.ids) if isinstance(examples.images, FileImages) else (),
    )
    alone = f"; {found.options.get(TRAIN, TRAIN)} alone is trained on" if len(found.splits) > 1 else ""
    notes = [f"{shown(path)}: {reader.name}: {found.about}{alone}."]
    if examples.accounting is not None and not examples.accounting.is_whole:
        notes.append(f"{shown(path)}: {examples.accounting.line()}.")
    return replace(data, name=name, notes=tuple(notes))


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
            known = "; ".join(reader.layout for reader in of_layouts())
            raise DataError(
                f"{shown(root)} holds no images ({', '.join(IMAGE_SUFFIXES)}), and is in none of the layouts that are read: "
                f"{known}."
            )
        paths = tuple(listing.paths)
        found = ImageFolder(root, (), paths, np.zeros(len(paths), np.int64), account(root, [listing]))
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


def _torchvision(
    name: str, root: Path, short_side: int | None, skip_unreadable: bool, progress: ProgressCallback | None
) -> PretrainingData:
    images = TorchvisionImages(name, root)
    label, classes = images.labels()
    return _from_images(images, short_side, skip_unreadable, progress, label=label, classes=classes)
