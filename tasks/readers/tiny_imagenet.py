"""Tiny ImageNet (Stanford CS231n): 200 of ImageNet's classes at 64x64."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_split,
    counted_folders,
    label_out_of_range,
    labelled_files,
    read_lines,
    require,
    require_files,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

WNID = re.compile(r"n\d{8}")


def wordnet_ids(classes: Sequence[str], root: Path) -> tuple[str, ...]:
    """Return the classes' WordNet ids: their names, or where those are numbers the first column of ``root/classes.tsv``.

    Nothing where neither says them: then there is no tree.
    """
    found = tuple(classes)
    table = root / "classes.tsv"
    if not all(WNID.fullmatch(name) for name in found) and table.is_file():
        found = tuple(line.split("\t")[0] for line in read_lines("tiny-imagenet", table))
    return found if len(found) == len(classes) and all(WNID.fullmatch(name) for name in found) else ()


def tiny_imagenet(root: Path, split: str, *, n_classes: int = 200) -> Examples:
    """Read ``<root>/train/<wnid>/images/*.JPEG``, or ``<root>/val/images`` by ``val/val_annotations.txt``.

    Labels number the WordNet ids of ``wnids.txt`` in their sorted order. Test is the validation part: the labels of the
    set's own test images are not public.
    """
    check_split("tiny-imagenet", split)
    listing = root / "wnids.txt"
    require("tiny-imagenet", listing, expected="wnids.txt, train/ and val/ of tiny-imagenet-200.zip")
    wnids = sorted(read_lines("tiny-imagenet", listing))
    if len(wnids) != n_classes:
        raise DataError(f"tiny-imagenet is incomplete: {listing} has {len(wnids)} classes; expected {n_classes}.")
    if split == "train":
        folder = root / "train"
        files, labels, seen = counted_folders("tiny-imagenet", folder, [f"{wnid}/images" for wnid in wnids])
        return labelled_files("tiny-imagenet", folder, files, labels, classes=wnids, accounting=seen)
    folder, table = root / "val" / "images", root / "val" / "val_annotations.txt"
    require("tiny-imagenet", folder, table, expected="val/images/ and val/val_annotations.txt")
    number = {wnid: k for k, wnid in enumerate(wnids)}
    files, found = [], []
    for line in read_lines("tiny-imagenet", table):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in number:
            raise label_out_of_range("tiny-imagenet", f"{name} in {table}", wnid, "an id of wnids.txt")
        files.append(folder / name)
        found.append(number[wnid])
    require_files("tiny-imagenet", files, table)
    return labelled_files("tiny-imagenet", folder, files, np.asarray(found, dtype=np.int64), classes=wnids)
