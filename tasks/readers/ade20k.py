"""ADE20K as SceneParse150 publishes it (ADEChallengeData2016/): scenes of any kind, 150 classes and void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    IGNORE,
    check_same_size,
    check_split,
    dense_files,
    label_out_of_range,
    read_lines,
    read_pixels,
    require,
    require_files,
    sorted_images,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

N_CLASSES = 150
NAMES = "objectInfo150.txt"


def scenes(root: Path, split: str, *, n_classes: int = N_CLASSES) -> Examples:
    """Read ``<root>/images/{training,validation}`` and ``annotations/`` beside it (Zhou et al. 2017): masks (H, W) of 150
    classes from 0 on, 255 void.

    A stored mask holds 0 for what is none of the 150 and 1 to 150 for the lines of ``objectInfo150.txt``, whose last column
    names them; of several words the first is taken. Train is the training split, test the validation split: the labels of
    the set's own test images are not public.
    """
    check_split("ade20k", split)
    part = "training" if split == "train" else "validation"
    images, masks, listing = root / "images" / part, root / "annotations" / part, root / NAMES
    require("ade20k", images, masks, listing, expected=f"{{images,annotations}}/{{training,validation}}/ and {NAMES}")
    classes = _classes(listing, n_classes)
    files = sorted_images(images)
    targets = [masks / f"{path.stem}.png" for path in files]
    require_files("ade20k", targets, images)

    def read(index: int) -> np.ndarray:
        stored = read_pixels("ade20k", targets[index])
        if stored.ndim != 2 or stored.max() > n_classes:
            raise label_out_of_range(
                "ade20k", str(targets[index]), int(stored.max()), f"one class a pixel, 1 to {n_classes}, or 0 for none"
            )
        check_same_size("ade20k", stored, targets[index], files[index])
        return np.where(stored == 0, IGNORE, stored.astype(np.int16) - 1).astype(np.uint8)

    return replace(dense_files("ade20k", root, files, read, targets=targets), classes=classes)


def _classes(listing: Path, n_classes: int) -> tuple[str, ...]:
    """Return the classes' names; the columns before them are five in the archive and four in the benchmark's repository."""
    rows = [line.split("\t") for line in read_lines("ade20k", listing)[1:]]
    numbers = [row[0].strip() for row in rows]
    if numbers != [str(k + 1) for k in range(n_classes)]:
        raise DataError(
            f"ade20k: {listing} numbers {len(rows)} classes; expected a line of column names and the classes 1 to "
            f"{n_classes}, one a line, in order. Extract the archive again."
        )
    return tuple(row[-1].split(",")[0].strip() for row in rows)
