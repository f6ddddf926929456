"""What the readers share: finding folders, fixed splits, lazy targets, and errors that name the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import Accounting
from virb.contracts.parts import resolve
from virb.errors import DataAbsent, DataError, UsageError
from virb.images import readers
from virb.images.decode import read_bytes, read_size, read_values, shown
from virb.images.digests import of_files
from virb.images.lazy import LazyTargets as LazyTargets  # readers take it from here
from virb.images.listing import Listing, account, is_of_tools, list_images
from virb.images.sets import FileImages

IGNORE = 255  # in class masks: counts for nothing


def place(context: DataContext, *names: str, folder: str) -> Path:
    """Return the folder of a data set: what the user placed under one of ``names``, else ``folder`` below the root."""
    for name in names:
        if name in context.places:
            return context.places[name]
    return context.place(names[0], under_root=folder)


def torchvision_folder(context: DataContext, *names: str, folder: str) -> Path:
    """Return the data set's ``folder`` where torchvision puts it; ``NAME=DIR`` may name that folder or its parent."""
    found = place(context, *names, folder=folder)
    inner = found / folder
    return inner if found.name != Path(folder).name and inner.is_dir() else found


def require(name: str, *paths: Path, expected: str) -> None:
    """Raise DataAbsent unless all ``paths`` exist."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise DataAbsent(f"{name}: there is no {missing[0]}; expected {expected}.")


def require_files(name: str, files: Sequence[Path], listed_in: str | Path) -> None:
    """Raise DataError with counts where some of the ``files`` that an annotation lists are not there."""
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise DataError(
            f"{name} is incomplete: {len(missing):,} of the {len(files):,} files that {listed_in} lists are missing; "
            f"the first is {missing[0]}. Extract the archive again."
        )


def check_split(name: str, split: str) -> None:
    if split not in ("train", "test"):
        raise UsageError(f"{name}: unknown split {split!r}; expected 'train' or 'test'.")


def read_lines(name: str, path: Path) -> list[str]:
    """Return the lines of a text file that are not blank; a byte-order mark and Windows' line ends do not matter."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except (DataError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: {shown(path)} cannot be read ({error}).") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{name}: {shown(path)} is empty; expected one example a line.")
    return lines


def read_json(name: str, path: Path) -> Any:
    try:
        return json.loads(read_bytes(path).decode("utf-8-sig"))
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{name}: {shown(path)} is not readable JSON ({error}). Fetch it again.") from error


def read_mat(name: str, path: Path, key: str) -> Any:
    """Return one variable of a MATLAB file, without axes of length one."""
    import io

    from scipy.io import loadmat

    try:
        return loadmat(io.BytesIO(read_bytes(path)), squeeze_me=True, variable_names=key)[key]
    except KeyError as error:
        raise DataError(f"{name}: {path} has no {key}. Fetch it again.") from error
    except Exception as error:  # scipy has no error of its own for what is no MATLAB file
        raise DataError(f"{name}: {path} is not a readable MATLAB file ({error}). Fetch it again.") from error


def read_pixels(name: str, path: Path, mode: str | None = None) -> np.ndarray:
    """Return the pixels of an annotation image as they are stored, or converted to Pillow's ``mode``."""
    try:
        return read_values(path, mode)
    except DataError as error:
        raise DataError(f"{name}: {error} Replace it.") from error


def image_size(name: str, path: Path) -> tuple[int, int]:
    """Return the height and width of an image; only its header is read."""
    try:
        return read_size(path)
    except DataError as error:
        raise DataError(f"{name}: {error} Replace it.") from error


def check_same_size(name: str, target: np.ndarray, target_path: Path | str, image_path: Path) -> None:
    """Raise DataError where an annotation is not of its image's size."""
    height, width = image_size(name, image_path)
    if target.shape[:2] != (height, width):
        raise DataError(
            f"{name}: {target_path} is {target.shape[1]}x{target.shape[0]}, but its image {image_path} is "
            f"{width}x{height}; expected one size."
        )


def sorted_images(folder: Path) -> list[Path]:
    """Return the images of ``folder``, by name."""
    return [folder / name for name in list_images(folder, is_deep=False).paths]


def class_folders(name: str, root: Path, folders: Sequence[str]) -> tuple[list[Path], np.ndarray]:
    """Return the images of ``root / folders[k]``, for every k, and their labels k; errors as for :func:`counted_folders`."""
    files, labels, _ = counted_folders(name, root, folders)
    return files, labels


def counted_folders(name: str, root: Path, folders: Sequence[str]) -> tuple[list[Path], np.ndarray, Accounting]:
    """Return the images of ``root / folders[k]``, for every k, their labels k, and what became of every file.

    Raises:
        DataError: a class's folder is missing or holds no image.
    """
    files: list[Path] = []
    labels: list[int] = []
    listings = []
    for label, folder in enumerate(folders):
        path = root / folder
        listing = list_images(path, is_deep=False) if path.is_dir() else Listing()
        if not listing.paths:
            state = "holds no image" if path.is_dir() else "does not exist"
            raise DataError(f"{name} is incomplete: the class folder {path} {state}; expected images of {folder!r}.")
        files += [path / file for file in listing.paths]
        labels += [label] * len(listing.paths)
        listings.append(listing)
    return files, np.asarray(labels, dtype=np.int64), account(root, listings)


def subfolders(root: Path) -> list[str]:
    """Return the names of the folders in ``root``, sorted; those of tools are none."""
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not is_of_tools(entry.name))


def hash_order(keys: Iterable[str]) -> list[int]:
    """Return the positions of ``keys`` in the order of their SHA-256: random, but the same for everybody and always."""
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    return sorted(range(len(digests)), key=digests.__getitem__)


def first_by_hash(keys: Sequence[str], n: int) -> np.ndarray:
    """Return bool (N,): which are the first ``n`` of ``keys`` in the order of their hashes."""
    chosen = np.zeros(len(keys), dtype=bool)
    chosen[hash_order(keys)[:n]] = True
    return chosen


def relative(files: Sequence[Path], root: Path) -> list[str]:
    """Return the files' paths below ``root``, with forward slashes everywhere."""
    return [shown(path.relative_to(root).as_posix()) for path in files]


def labelled_files(
    name: str,
    root: Path,
    files: Sequence[Path],
    labels: np.ndarray | Sequence[int],
    *,
    classes: Sequence[str] = (),
    accounting: Accounting | None = None,
) -> Examples:
    """Return single-image examples over files."""
    if not files:
        raise DataError(f"{name}: {root} holds no example of this split; expected at least one.")
    frames = np.arange(len(files), dtype=np.int64)[:, None]
    return Examples(
        FileImages(name, root, files),
        frames,
        np.asarray(labels, dtype=np.int64),
        relative(files, root),
        classes=tuple(classes),
        accounting=accounting,
    )


def dense_files(
    name: str, root: Path, files: Sequence[Path], read: Callable[[int], np.ndarray], *, targets: Sequence[Path]
) -> Examples:
    """Return single-image examples whose target k is ``read(k)``, made of the file ``targets[k]`` when it is used."""
    if not files:
        raise DataError(f"{name}: {root} holds no example of this split; expected at least one.")
    frames = np.arange(len(files), dtype=np.int64)[:, None]
    lazy = LazyTargets(len(files), read, lambda rows: of_files(root, [targets[int(row)] for row in rows]))
    return Examples(FileImages(name, root, files), frames, lazy, relative(files, root))


def or_layout(context: DataContext, name: str, split: str, n_classes: int, public: Callable[[], Examples]) -> Examples:
    """Return ``public()``, or, where its publisher's files are absent, the set ``name`` in a layout that is recognised.

    So the same set may lie as Parquet of the Hugging Face hub, as WebDataset shards or as class folders, in
    ``--data NAME=DIR`` or ``name`` below the data folder.

    Raises:
        DataAbsent: of the publisher's layout, where nothing else is there either.
        DataError: what is there has another number of classes.
    """
    try:
        return public()
    except DataAbsent:
        path = context.places.get(name) or (None if context.root is None else context.root / name)
        found = readers.recognised(path) if path is not None and path.is_dir() else None
        if found is None or path is None:
            raise
    reader, how = found
    options = resolve(reader.options, {**how.options, "place": name}, f"The reader {reader.name!r}")
    examples = reader.read(replace(context, places={**context.places, name: path}), split, **options)
    if len(examples.classes) != n_classes:
        raise DataError(
            f"{name} is incomplete: {shown(path)} ({reader.name}) has {len(examples.classes)} classes; expected {n_classes}."
        )
    return examples


def with_validation(train: Examples, is_held: Sequence[bool] | np.ndarray) -> Examples:
    """Return a train split whose own validation part are those of its examples that ``is_held`` (N,); or, of none, itself."""
    rows = np.flatnonzero(np.asarray(is_held, dtype=bool))
    return replace(train, validation=train.subset(rows)) if 0 < len(rows) < len(train) else train


def label_out_of_range(name: str, what: str, found: object, expected: str) -> DataError:
    return DataError(f"{name}: {what} has the label {found!r}; expected {expected}.")


def torchvision_prepare(class_name: str, context: DataContext, name: str, *, folder: str, **options: Any) -> None:
    """Let ``torchvision.datasets.<class_name>`` put its set where the readers look: into ``folder`` below its root.

    With ``download=True`` among the ``options`` it downloads; without, it extracts archives that lie there already.

    Raises:
        DataError: the download failed, a checksum differs, or an archive is not there.
    """
    import torchvision.datasets as sets

    found = place(context, name, folder=folder)
    root = found.parent if found.name == folder else found
    root.mkdir(parents=True, exist_ok=True)
    try:
        getattr(sets, class_name)(str(root), **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{name}: torchvision could not put it into {root}: {error}") from error
