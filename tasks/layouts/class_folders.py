"""One folder a class: split into folders (train/daisy/*.jpg), or by lists of paths (images/daisy/*.jpg, labels/train.txt)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from virb.tasks.layouts._common import IMAGES, MASKS, PLACE, candidates, place_of, put_together, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images import splits
from virb.images.decode import SUFFIXES, read_bytes, shown
from virb.images.folders import scan_image_folder
from virb.images.listing import class_folders, list_images
from virb.images.sets import FileImages

LAYOUT = "a folder a class, in train/ and test/ or with split lists (images/CLASS/*.jpg, train.txt, test.txt)"


def read(
    context: DataContext, split: str, *, place: str, images: str, lists: str, train: str, test: str, validation: str
) -> Examples:
    """Read ``<place>/<split>/<class>/*``, or, with ``lists``, ``<place>/<images>/<class>/*`` as a list a split names them.

    Classes are the sorted folders of the train split (numbers as numbers); the other splits must have the same.
    """
    if lists:
        root = place_of(
            context, place, f"{images or '.'}/<class>/ and {lists}", lambda path: _list(path, lists, test).is_file()
        )
        names = class_folders(root / images)

        def listed(parts: Sequence[str]) -> tuple[Examples, list[int]]:
            return _from_lists(place, root, images, names, [_list(root, lists, part) for part in parts])

        return put_together(split, train=train, test=test, validation=validation, read=listed)
    first = train.split("+")[0]
    root = place_of(context, place, f"{first}/<class>/ and {test}/<class>/", lambda path: (path / first).is_dir())
    classes = scan_image_folder(root / images / first).classes

    def foldered(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        scans = [scan_image_folder(root / images / part, classes=classes) for part in parts]
        paths = [
            path if len(parts) == 1 else f"{part}/{path}"
            for part, scan in zip(parts, scans, strict=True)
            for path in scan.paths
        ]
        top = root / images / parts[0] if len(parts) == 1 else root / images
        labels = np.concatenate([scan.labels for scan in scans])
        found = Examples(
            FileImages(f"{place}/{'+'.join(parts)}", top, paths),
            np.arange(len(paths))[:, None],
            labels,
            [shown(path) for path in paths],
            classes=classes,
            accounting=scans[0].accounting if len(parts) == 1 else None,
        )
        return found, [len(scan.paths) for scan in scans]

    return put_together(split, train=train, test=test, validation=validation, read=foldered)


def _list(root: Path, lists: str, part: str) -> Path:
    return root / lists.replace("{split}", part)


def _from_lists(
    place: str, root: Path, images: str, names: Sequence[str], lists: Sequence[Path]
) -> tuple[Examples, list[int]]:
    paths: list[str] = []
    labels, counts = [], []
    number = {name: k for k, name in enumerate(names)}
    for listing in lists:
        lines = _lines(listing)
        for line in lines:
            path = line if line.lower().endswith(SUFFIXES) else f"{line}.jpg"
            path = path.removeprefix("/").removeprefix(f"{images}/" if images else "")
            label = path.partition("/")[0]
            if label not in number:
                raise DataError(f"{shown(listing)}: {line!r} begins with no class folder of {shown(root / images)}.")
            if not (root / images / path).is_file():
                raise DataError(f"{shown(listing)} lists {line!r}, but there is no {shown(root / images / path)}.")
            paths.append(path)
            labels.append(number[label])
        counts.append(len(lines))
    found = Examples(
        FileImages(place, root / images, paths),
        np.arange(len(paths))[:, None],
        np.array(labels, dtype=np.int64),
        [shown(path) for path in paths],
        classes=tuple(names),
    )
    return found, counts


def _lines(listing: Path) -> list[str]:
    try:
        text = read_bytes(listing).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(listing)} is no text ({error}).") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def recognise(path: Path) -> Recognised | None:
    """Look for folders of splits with class folders, or for lists beside class folders."""
    for root in candidates(path) if path.is_dir() else []:
        found = splits.roles(class_folders(root))
        if "train" in found and _has_classes(root / found["train"]):
            n = len(class_folders(root / found["train"]))
            said = ", ".join(f"{name}/" for name in found.values())
            return Recognised(found, "class", f"{n} class folders in {said}", tuple(found))
        by_list = _lists_of(root)
        if by_list is not None:
            return by_list
    return None


def _has_classes(folder: Path) -> bool:
    names = set(class_folders(folder))
    if names & set(IMAGES) and names & set(MASKS):  # not classes but the two halves of a set with masks
        return False
    return any(list_images(folder / name).paths for name in class_folders(folder)[:20])


def _lists_of(root: Path) -> Recognised | None:
    """Look for images/<class>/ with lists whose names begin with those of splits, as DTD's labels/train1.txt."""
    patterns: dict[str, dict[str, str]] = {}
    for listing in sorted([*root.glob("*.txt"), *root.glob("*/*.txt")]):
        word = re.match(r"[A-Za-z]+", listing.stem)
        if word and splits.role(word[0]):
            pattern = (listing.relative_to(root).parent / listing.name.replace(word[0], "{split}", 1)).as_posix()
            patterns.setdefault(pattern, {})[word[0]] = word[0]
    for images in ("images", "", "image", "JPEGImages"):
        if not (root / images).is_dir():
            continue
        names = class_folders(root / images)
        for pattern, words in sorted(patterns.items(), key=lambda item: (len(item[0]), item[0])):
            found = splits.roles(words)
            if "train" not in found or "test" not in found:
                continue
            first = _lines(_list(root, pattern, found["train"]))[:1]
            if first and "/" in first[0] and first[0].removeprefix(f"{images}/").lstrip("/").partition("/")[0] in names:
                return Recognised(
                    {"images": images, "lists": pattern, **found},
                    "class",
                    f"{len(names)} class folders in {images or '.'}/, split by {pattern}",
                    tuple(found),
                )
    return None


READER = Reader(
    "class-folders",
    "one folder a class, split into folders or by lists",
    read,
    options=(
        PLACE,
        Option("images", "", "the folder of the class folders (with lists), or of the split folders"),
        Option("lists", "", 'the lists of paths, as "labels/{split}1.txt"; none: the splits are folders'),
        *split_options(),
    ),
    recognise=recognise,
    layout=LAYOUT,
)
