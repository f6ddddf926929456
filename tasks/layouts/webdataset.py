"""WebDataset: tar shards of images with their class beside them, as the public wds_* sets; read where they lie."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.layouts._common import PLACE, candidates, place_of, put_together, several, split_options

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.contracts.reader import Reader, Recognised
from virb.errors import DataError
from virb.images import splits
from virb.images.decode import read_bytes, shown
from virb.images.listing import natural
from virb.images.shards import SUFFIX, TarImages, key_of, members

NAMES = "classnames.txt"
LAYOUT = "WebDataset tar shards (train/0.tar or train-000000.tar, samples of KEY.jpg and KEY.cls)"


def shards(root: Path) -> dict[str, list[Path]]:
    """Return the tar files in ``root`` and its split folders, by the split that the file's name or the folder says."""
    found: dict[str, list[Path]] = {}
    for path in sorted([*root.glob(f"*{SUFFIX}"), *root.glob(f"*/*{SUFFIX}")], key=lambda path: natural(str(path))):
        words = [path.parent.name] if path.parent != root else []
        words += [path.stem, path.stem.split("-")[0], path.stem.split("_")[0]]
        name = next((word for word in words if splits.role(word)), "")
        found.setdefault(name, []).append(path)
    return {name: part for name, part in found.items() if name} or ({"train": found[""]} if found else {})


def read(
    context: DataContext,
    split: str,
    *,
    place: str,
    target: str,
    kind: str,
    group: str,
    train: str,
    test: str,
    validation: str,
) -> Examples:
    """Read the shards of a split in the order of their names, samples in their order.

    The class stands in KEY.cls as a number, whose name is that line of ``classnames.txt`` where there is one; or in any
    ``target`` "ENDING" or "json:FIELD". ``kind`` "labels" takes several names or numbers, "number" a number.
    """
    first = train.split("+")[0]
    root = place_of(context, place, f"tar shards of {first}", lambda path: path.is_dir() and first in shards(path))
    found = shards(root)
    listed = names_of(root)

    def one(parts: Sequence[str]) -> tuple[Examples, list[int]]:
        missing = [part for part in parts if part not in found]
        if missing:
            raise DataError(f"{place}: {shown(root)} has no shards of {missing[0]!r}; it has {', '.join(found)}.")
        ending, _, field = target.partition(":")
        wanted = {*([ending] if kind != "none" else []), *([group.partition(":")[0]] if group else [])}
        images = TarImages(
            f"{place}/{'+'.join(parts)}", [path for part in parts for path in found[part]], endings=sorted(wanted)
        )
        if not len(images):
            raise DataError(f"{place}: the shards of {' and '.join(parts)} in {shown(root)} hold no sample.")
        values = [] if kind == "none" else _values(images, ending, field)
        of_train = values
        if kind in ("class", "labels") and not listed and first != parts[0]:
            learned = [path for part in train.split("+") for path in found[part]]
            of_train = _values(TarImages(f"{place}/{train}", learned, endings=[ending]), ending, field)
        targets, classes = _targets(values, of_train, kind, listed, root, images)
        groups = None if not group else [str(v) for v in _values(images, *group.partition(":")[::2])]
        counts = [
            int(np.isin(images.shard_numbers, [images.shards.index(p) for p in found[part]]).sum()) for part in parts
        ]
        frames = np.arange(len(images))[:, None]
        return Examples(images, frames, targets, images.keys, classes=classes, groups=groups), counts

    return put_together(split, train=train, test=test, validation=validation, read=one)


def names_of(root: Path) -> tuple[str, ...]:
    """Return the lines of classnames.txt, the classes' names by number; () where there is none."""
    if not (root / NAMES).is_file():
        return ()
    return tuple(line.strip() for line in read_bytes(root / NAMES).decode("utf-8-sig").splitlines() if line.strip())


def _values(images: TarImages, ending: str, field: str) -> list[Any]:
    rows = images.beside.get(ending)
    if rows is None:
        raise DataError(f"{images.name}: not every sample has a file of the ending .{ending}.")
    if not field:
        return [row.decode("utf-8", "replace").strip() for row in rows]
    try:
        return [json.loads(row)[field] for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{images.name}: a sample's .{ending} has no {field!r} ({error!r}).") from error


def _targets(
    values: list[Any], of_train: list[Any], kind: str, listed: tuple[str, ...], root: Path, images: TarImages
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the targets of a split and the classes' names: those ``listed``, else those of the train split's values."""
    if kind == "none":
        return np.zeros(len(images), dtype=np.int64), ()
    if kind == "number":
        try:
            return np.array(values, dtype=np.float32), ()
        except (TypeError, ValueError) as error:
            raise DataError(f"{images.name}: a target is no number ({error}).") from error
    if kind == "labels":
        rows, known = _parted(values), _parted(of_train)
        if listed and all(name.isdigit() for row in rows for name in row):
            rows = [[listed[int(name)] for name in row] for row in rows]
        return several(rows, listed or tuple(sorted({name for row in known for name in row})))
    without = [
        k for k, value in enumerate(values) if value is None or str(value).lower() in ("", "nan") or _is_below_0(value)
    ]
    if without:
        raise DataError(
            f"{images.name}: {len(without)} of {len(values)} samples have no class; the first is "
            f"{images.describe(without[0])}, with {values[without[0]]!r}. Leave them out of the shards, or name another split."
        )
    is_numbered = all(_is_number(value) for value in of_train)
    if is_numbered and all(_is_number(value) for value in values):
        labels = np.array(values, dtype=np.int64)
        n = len(listed) or int(max(map(int, of_train))) + 1
        if int(labels.max()) >= n:
            source = f"line in {shown(root / NAMES)}" if listed else "sample of the train split"
            raise DataError(
                f"{images.name}: the class {labels.max()} of {images.describe(int(labels.argmax()))} has no {source}, "
                f"which has {n}."
            )
        return labels, listed or tuple(map(str, range(n)))
    names = listed or tuple(sorted(set(map(str, of_train))))
    number = {name: k for k, name in enumerate(names)}
    unknown = [k for k, value in enumerate(values) if str(value) not in number or (is_numbered and not listed)]
    if unknown:
        source = f"no line of {NAMES}" if listed else "which no sample of the train split has"
        raise DataError(f"{images.describe(unknown[0])} is of the class {values[unknown[0]]!r}, {source}.")
    return np.array([number[str(value)] for value in values], dtype=np.int64), names


def _parted(values: list[Any]) -> list[list[str]]:
    rows = [value if isinstance(value, list) else str(value).replace(",", " ").split() for value in values]
    return [[str(name) for name in row] for row in rows]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or str(value).isdecimal()


def _is_below_0(value: Any) -> bool:
    """Whether a value is a negative number, as splits published without labels have it."""
    return re.fullmatch(r"-\d+", str(value)) is not None


def recognise(path: Path) -> Recognised | None:
    """Look for tar files whose first sample is an image with its class."""
    for root in candidates(path) if path.is_dir() else []:
        found = shards(root)
        names = splits.roles(found)
        if "train" not in names:
            continue
        endings: list[str] = []
        key = ""
        for member in members(found[names["train"]][0]):
            this, ending = key_of(member.name)
            if endings and this != key:
                break
            key, endings = this, [*endings, ending]
        target = next((ending for ending in ("cls", "cls.txt", "label", "txt") if ending in endings), "")
        n = sum(map(len, found.values()))
        classes = f" of {len(names_of(root))} classes" if names_of(root) else ""
        return Recognised(
            {**({"target": target} if target else {"kind": "none"}), **names},
            "class" if target else "",
            f"{n} WebDataset shards{classes} ({', '.join(names.values())})",
            tuple(names),
        )
    return None


READER = Reader(
    "webdataset",
    "WebDataset tar shards, read in order where they lie",
    read,
    options=(
        PLACE,
        Option("target", "cls", 'the ending of the file with the target, or "json:FIELD"'),
        Option("kind", "class", help='"none" reads images alone', choices=("class", "labels", "number", "none")),
        Option("group", "", 'what examples belong together by: an ending, or "json:FIELD"'),
        *split_options(),
    ),
    source="github.com/webdataset/webdataset; the sets of CLIP_benchmark",
    recognise=recognise,
    layout=LAYOUT,
)
