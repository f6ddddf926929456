"""Pascal VOC 2007: which of twenty kinds of things are in an image, several at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, read_lines, relative, require, require_files, with_validation

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import FileImages

WORDS = {"1": 1, "0": -1, "-1": 0}  # present; "difficult", which does not count; absent


def classification(root: Path, split: str, *, n_classes: int = 20) -> Examples:
    """Read ``<root>/VOC2007/JPEGImages`` by ``ImageSets/Main/<class>_{trainval,test}.txt`` (Everingham et al. 2010).

    Targets are int8 (N, 20): 1 present, 0 absent, -1 present but "difficult", which counts for nothing. The classes are
    those that have a list, by name.
    """
    check_split("voc2007", split)
    top = root / "VOC2007"
    lists, part = top / "ImageSets" / "Main", "trainval" if split == "train" else "test"
    require("voc2007", top / "JPEGImages", lists / f"{part}.txt", expected="VOC2007/{JPEGImages,ImageSets/Main}")
    keys = [line.split()[0] for line in read_lines("voc2007", lists / f"{part}.txt")]
    names = sorted(path.name.removesuffix(f"_{part}.txt") for path in lists.glob(f"*_{part}.txt"))
    if len(names) != n_classes:
        raise DataError(f"voc2007 is incomplete: {lists} has lists of {len(names)} classes; expected {n_classes}.")
    targets = np.zeros((len(keys), len(names)), dtype=np.int8)
    for k, name in enumerate(names):
        listing = lists / f"{name}_{part}.txt"
        of = dict(line.split() for line in read_lines("voc2007", listing) if len(line.split()) == 2)
        missing = next((key for key in keys if of.get(key) not in WORDS), None)
        if missing is not None:
            raise DataError(f"voc2007: {listing} has {of.get(missing)!r} for {missing}; expected 1, 0 or -1.")
        targets[:, k] = [WORDS[of[key]] for key in keys]
    files = [top / "JPEGImages" / f"{key}.jpg" for key in keys]
    require_files("voc2007", files, lists / f"{part}.txt")
    frames = np.arange(len(files), dtype=np.int64)[:, None]
    images = FileImages("voc2007", top / "JPEGImages", files)
    found = Examples(images, frames, targets, relative(files, top / "JPEGImages"), classes=tuple(names))
    held = lists / "val.txt"
    if split == "train" and held.is_file():
        of_val = {line.split()[0] for line in read_lines("voc2007", held)}
        found = with_validation(found, [key in of_val for key in keys])
    return found
