"""Hugging Face image data sets: Parquet files, save_to_disk folders, or by hub name; classes as the files' metadata name them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.layouts._common import PLACE, Numbered, place_of, put_together, several, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images import splits
from virb.images.decode import shown
from virb.images.parquet import ParquetImages, class_names, image_columns, label_column, table_files

LAYOUT = "Hugging Face Parquet (train-00000-of-00001.parquet) or a folder of save_to_disk"


def read(
    context: DataContext,
    split: str,
    *,
    place: str,
    image: str,
    target: str,
    kind: str,
    group: str,
    hub: str,
    train: str,
    test: str,
    validation: str,
) -> Examples:
    """Read the rows of a split in the order of their files.

    Args:
        image, target, group: columns; by default the one that holds images, and the one called label or the like.
        kind: of the target: "class" (whole numbers or texts), "labels" (lists of them) or "number".
        hub: a name on the hub, as "mnist" or "mnist:CONFIG", which `datasets` then downloads into its own cache.
    """
    found = _files(context, place, hub, train.split("+")[0])
    first = train.split("+")[0]
    of_train: list[ParquetImages] = []

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        missing = [part for part in parts if part not in found]
        if missing:
            raise DataError(f"{place}: there is no split {missing[0]!r}; there are {', '.join(found)}.")
        images = ParquetImages(f"{place}/{'+'.join(parts)}", [f for part in parts for f in found[part]], column=image)
        if parts[0] != first and not of_train:
            of_train.append(ParquetImages(place, found[first], column=image))
        targets, classes = _targets(images, target, kind, of_train[0] if of_train else images)
        groups = None if not group else [str(value) for value in images.values(group).to_pylist()]
        counts = [
            images.n_rows(len(found[part]), sum(len(found[p]) for p in parts[:k])) for k, part in enumerate(parts)
        ]
        ids = Numbered(f"{'+'.join(parts)} row", len(images))
        frames = np.arange(len(images))[:, None]
        return Examples(images, frames, targets, ids, classes=classes, groups=groups), counts

    return put_together(split, train=train, test=test, validation=validation, read=one)


def _files(context: DataContext, place: str, hub: str, first: str) -> dict[str, list[Path]]:
    if not hub:
        root = place_of(context, place, LAYOUT, lambda path: path.is_dir() and first in table_files(path))
        return table_files(root)
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{place}: reading {hub!r} from the hub needs datasets, which is not installed: pip install virb[hub], or datasets."
        ) from error
    name, _, config = hub.partition(":")
    try:
        loaded = datasets.load_dataset(name, config or None)
        return {part: [Path(file["filename"]) for file in rows.cache_files] for part, rows in loaded.items()}
    except Exception as error:  # of the library, the network and the set's own files
        raise DataError(f"{place}: {hub!r} cannot be loaded from the hub ({type(error).__name__}: {error}).") from error


def _targets(
    images: ParquetImages, target: str, kind: str, of_train: ParquetImages
) -> tuple[np.ndarray, tuple[str, ...]]:
    if kind == "none":
        return np.zeros(len(images), dtype=np.int64), ()
    column = target or label_column(images.schema)
    if not column:
        raise DataError(
            f"{shown(images.files[0])} has no column called like labels are; its columns: {', '.join(images.schema.names)}. "
            "Name one with target=."
        )
    if kind == "number":
        try:
            return np.array(images.values(column).to_pylist(), dtype=np.float32), ()
        except (TypeError, ValueError) as error:
            raise DataError(f"{shown(images.files[0])}: {column!r} holds no numbers ({error}).") from error
    if kind == "labels":
        names = class_names(images.schema, column)
        rows = [row or [] for row in images.values(column).to_pylist()]
        if names:
            wrong = next((k for row in rows for k in row if not 0 <= int(k) < len(names)), None)
            if wrong is not None:
                raise DataError(
                    f"{shown(images.files[0])}: {column!r} has the label {wrong}; it names {len(names)}, from 0."
                )
            rows = [[names[int(k)] for k in row] for row in rows]
        elif images is not of_train:
            names = tuple(sorted({str(k) for row in of_train.values(column).to_pylist() for k in row or []}))
        return several([[str(k) for k in row] for row in rows], names)
    label, classes = images.labels(column)
    if label is None:
        raise DataError(
            f"{shown(images.files[0])}: {column!r} does not give every row a class (missing, empty or below 0), as splits published "
            "without labels do not. Name another split with test=."
        )
    if images is not of_train and not class_names(images.schema, column):
        known = of_train.labels(column)[1]
        if not set(classes) <= set(known):
            raise DataError(f"{shown(images.files[0])}: {column!r} has classes that the train split has not.")
        label = np.array([known.index(name) for name in classes], dtype=np.int64)[label] if classes != known else label
        classes = known
    return label, classes


def recognise(path: Path) -> Recognised | None:
    """Look for Parquet or Arrow files with a column of images."""
    if not path.is_dir():
        return None
    found = table_files(path)
    names = splits.roles(found)
    if "train" not in names:
        return None
    images = ParquetImages(path.name, found[names["train"]])
    test = ParquetImages(path.name, found[names["test"]]) if "test" in names else None
    column = label_column(images.schema) if images.label is not None else ""
    if test is not None and column and test.label is None and "validation" in names:  # published without labels
        names["test"] = names.pop("validation")
    kind, target = ("class", "") if label_column(images.schema) else _column(images)
    about = f"{len(images):,} rows of {images.column!r} images with {column or target or 'no labels'!r} ({', '.join(names.values())})"
    options: dict[str, Any] = {**({"target": target} if target else {}), **({"kind": kind} if kind != "class" else {})}
    if not column and not target:
        options = {"kind": "none"}
    return Recognised({**options, **names}, kind if column or target else "", about, tuple(names))


def _column(images: ParquetImages) -> tuple[str, str]:
    """Return the kind of a target that is not called like labels are, and its column; ("class", "") where none is."""
    import pyarrow as pa

    others = [field for field in images.schema if field.name not in image_columns(images.schema)]
    if len(others) != 1:
        return "class", ""
    kind = others[0].type
    if pa.types.is_floating(kind):
        return "number", others[0].name
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "labels", others[0].name
    return "class", others[0].name


READER = Reader(
    "huggingface",
    "Hugging Face data sets: Parquet, save_to_disk folders, or by hub name",
    read,
    options=(
        PLACE,
        Option("image", "", "the column of images"),
        Option("target", "", "the column of the target"),
        Option("kind", "class", help='"none" reads images alone', choices=("class", "labels", "number", "none")),
        Option("group", "", "the column that says which rows belong together"),
        Option("hub", "", "a name on the hub"),
        *split_options(),
    ),
    source="huggingface.co/docs/datasets",
    recognise=recognise,
    layout=LAYOUT,
)
