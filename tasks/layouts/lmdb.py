"""LMDB: encoded images under keys, as LSUN, BasicSR and sets of scene texts have them; read where they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from virb.tasks.layouts._common import PLACE, candidates, place_of, put_together, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images import splits
from virb.images.decode import shown
from virb.images.lmdb import LmdbImages, is_environment

LAYOUT = "LMDB of encoded images (x.lmdb; train.lmdb and val.lmdb; LSUN's CLASS_train_lmdb)"
Found = dict[str, list[tuple[str, Path]]]


def environments(root: Path) -> Found:
    """Return the environments at or in ``root`` by split, each with the class that its name says, as bedroom_train_lmdb.

    Where no split has several, that is the set's name and no class.
    """
    if is_environment(root):
        return {"train": [("", root)]}
    found: Found = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if is_environment(path):
            stem = re.sub(r"[._]?(lmdb|mdb)$", "", path.name)
            head, _, tail = stem.rpartition("_")
            split, name = (stem, "") if splits.role(stem) else (tail, head) if splits.role(tail) else ("", "")
            found.setdefault(split, []).append((name, path))
    named = {split: part for split, part in found.items() if split} or ({"train": found[""]} if found else {})
    if any(len(part) > 1 for part in named.values()):
        return named
    return {split: [("", path) for _, path in part] for split, part in named.items()}


def read(
    context: DataContext, split: str, *, place: str, file: str, kind: str, train: str, test: str, validation: str
) -> Examples:
    """Read the environments of a split in the order of their names, images in that of their keys.

    The class is the first folder of keys CLASS/NAME, the label beside image-000000001, or LSUN's name of the environment.
    """
    first = train.split("+")[0]
    root = place_of(context, place, f"LMDB of {first}", lambda path: first in environments(path / file)) / file
    found = environments(root)
    names: list[str] = []

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        missing = [part for part in parts if part not in found]
        if missing:
            raise DataError(f"{place}: {shown(root)} has no LMDB of {missing[0]!r}; it has {', '.join(found)}.")
        images = _images(f"{place}/{'+'.join(parts)}", found, parts)
        if kind == "class" and not names:
            trained = train.split("+")
            of_train = images if list(parts) == trained else _images(place, found, trained)
            names.extend(sorted({*_labels(of_train, found)}, key=_in_order))
        targets = np.zeros(len(images), np.int64) if kind == "none" else _targets(_labels(images, found), names, images)
        counts = [sum(int((images.numbers == k).sum()) for k in _numbers(images, found[part])) for part in parts]
        frames = np.arange(len(images))[:, None]
        ids = [f"{path.stem}/{key}" for path, key in _places(images)] if len(images.environments) > 1 else images.keys
        return Examples(images, frames, targets, ids, classes=tuple(names)), counts

    return put_together(split, train=train, test=test, validation=validation, read=one)


def _images(name: str, found: Found, parts: Sequence[str]) -> LmdbImages:
    return LmdbImages(name, [path for part in parts for _, path in found[part]])


def _numbers(images: LmdbImages, part: list[tuple[str, Path]]) -> list[int]:
    return [images.environments.index(path) for _, path in part]


def _places(images: LmdbImages) -> list[tuple[Path, str]]:
    return [(images.environments[int(k)], images.keys[row]) for row, k in enumerate(images.numbers)]


def _labels(images: LmdbImages, found: Found) -> list[str]:
    """Return a text for each image.

    Raises:
        DataError: not all have one.
    """
    said = {path: name for part in found.values() for name, path in part}
    by_name = [said[path] for path in images.environments]
    if all(by_name):
        return [by_name[int(k)] for k in images.numbers]
    if images.labels is None:
        raise DataError(
            f"{images.name}: not every image in {shown(images.environments[0])} has a class. Expected keys CLASS/NAME, or "
            'labels beside images (image-000000001, label-000000001). Read images alone with kind="none".'
        )
    return images.labels


def _targets(labels: list[str], names: list[str], images: LmdbImages) -> np.ndarray:
    number = {name: k for k, name in enumerate(names)}
    unknown = next((k for k, name in enumerate(labels) if name not in number), None)
    if unknown is not None:
        raise DataError(f"{images.describe(unknown)} has the class {labels[unknown]!r}, which no training image has.")
    return np.array([number[name] for name in labels], dtype=np.int64)


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers by size, before other texts."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def recognise(path: Path) -> Recognised | None:
    """Look for LMDB environments."""
    for root in candidates(path):
        found = environments(root)
        names = splits.roles(found)
        if "train" not in names:
            continue
        parts = {part: _images(path.name, found, [part]) for part in names.values()}
        has_classes = {part: _has_labels(images, found) for part, images in parts.items()}
        kind = "class" if has_classes[names["train"]] else "none"
        if kind == "class" and "test" in names and not has_classes[names["test"]]:  # published without labels
            del names["test"]
            names |= {"test": names.pop("validation")} if "validation" in names else {}
        n = sum(len(parts[part]) for part in names.values())
        classes = f" of {len({*_labels(parts[names['train']], found)})} classes" if kind == "class" else ""
        return Recognised(
            {**({"file": path.name} if path.is_file() else {}), **({"kind": kind} if kind == "none" else {}), **names},
            "class" if kind == "class" else "",
            f"{n:,} images{classes} in LMDB ({', '.join(names.values())})",
            tuple(names),
        )
    return None


def _has_labels(images: LmdbImages, found: Found) -> bool:
    try:
        return bool(_labels(images, found))
    except DataError:
        return False


READER = Reader(
    "lmdb",
    "LMDB of encoded images, read in order where it lies",
    read,
    options=(
        PLACE,
        Option("file", "", "an environment that is a file and no folder"),
        Option("kind", "class", help='"none" reads images alone', choices=("class", "none")),
        *split_options(),
    ),
    source="symas.com/lmdb; torchvision.datasets.LSUN",
    recognise=recognise,
    layout=LAYOUT,
)
