"""What the readers of layouts share: where a set lies, its splits put together, options, and lists of names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from virb.contracts.examples import DataContext, Examples
from virb.contracts.parts import Option
from virb.errors import DataAbsent, DataError, UsageError, data_option
from virb.images.decode import shown
from virb.images.listing import is_of_tools

IMAGES = ("images", "image", "img", "imgs", "JPEGImages")
MASKS = (
    "masks",
    "mask",
    "labels",
    "annotations",
    "SegmentationClass",
    "gt",
    "annot",
    "labelsTr",
)  # what their folders are called
PLACE = Option("place", type=str, help="the name under which --data NAME=DIR says where the data lie")


def split_options(train: str = "train", test: str = "test", validation: str = "") -> tuple[Option, ...]:
    """The options that say which split is called how; several that train are joined by "+"."""
    return Option("train", train), Option("test", test), Option("validation", validation)


def place_of(context: DataContext, place: str | None, expected: str, has: Callable[[Path], bool]) -> Path:
    """Return the folder (or file) of the data set; one that holds a single folder which ``has`` it stands for that.

    So the archive of a data set may be extracted in the folder of its name.

    Raises:
        DataAbsent: there is none, or it does not hold what is ``expected``.
    """
    if not place:
        raise UsageError('A reader of a layout needs place="NAME", the name that --data NAME=DIR is said for.')
    root = context.place(place)
    if not root.exists():
        raise DataAbsent(
            f"{place}: there is no {shown(root)}. Expected {expected}; pass {data_option(place)} if it lies elsewhere."
        )
    for candidate in candidates(root):
        if has(candidate):
            return candidate
    raise DataAbsent(
        f"{place}: {shown(root)} does not hold {expected}. Pass {data_option(place)} if it lies elsewhere."
    )


def candidates(root: Path) -> list[Path]:
    """Return ``root``, and below it the folders that stand alone or have its name, at most three deep."""
    found = [root]
    while len(found) < 4 and found[-1].is_dir():
        inside = [path for path in sorted(found[-1].iterdir()) if path.is_dir() and not is_of_tools(path.name)]
        named = [path for path in inside if path.name == found[-1].name]
        if len(inside) != 1 and not named:
            break
        found.append(named[0] if named else inside[0])
    return found


def put_together(
    split: str, *, train: str, test: str, validation: str, read: Callable[[Sequence[str]], tuple[Examples, list[int]]]
) -> Examples:
    """Return the examples of "train", with the validation part if there is one, or of "test".

    ``read(names)`` returns the examples of those splits, one after the other over one image set, and how many each has.
    """
    if split == "test":
        return read([test])[0]
    if split != "train":
        raise UsageError(f"Unknown split {split!r}; expected 'train' or 'test'.")
    trained = train.split("+")
    names = trained if not validation or validation in trained else [*trained, validation]
    whole, counts = read(names)
    if not validation:
        return whole
    part = np.repeat(np.arange(len(names)), counts)
    found = whole.subset(np.flatnonzero(part < len(trained))) if len(names) > len(trained) else whole
    return replace(found, validation=whole.subset(np.flatnonzero(part == names.index(validation))))


class Numbered(Sequence[str]):
    """The ids "PREFIX 0", "PREFIX 1", ..., made when they are asked for."""

    def __init__(self, prefix: str, n: int) -> None:
        self.prefix = prefix
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [f"{self.prefix} {k}" for k in range(self.n)[index]]
        return f"{self.prefix} {range(self.n)[index]}"


def several(rows: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return int8 (N, K), 1 where the label k of the sorted ``classes`` is among a row's, else 0; and the classes.

    Raises:
        DataError: a row has a label that is none of ``classes``, where they are given.
    """
    names = tuple(classes) or tuple(sorted({name for row in rows for name in row}))
    number = {name: k for k, name in enumerate(names)}
    found = np.zeros((len(rows), len(names)), dtype=np.int8)
    for k, row in enumerate(rows):
        for name in row:
            if name not in number:
                raise DataError(f"The label {name!r} of row {k} is none of the train split's {len(names)}.")
            found[k, number[name]] = 1
    return found, names
