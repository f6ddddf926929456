"""Cityscapes with fine annotations, as torchvision lays it out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    IGNORE,
    check_same_size,
    check_split,
    dense_files,
    label_out_of_range,
    read_pixels,
    require,
    require_files,
    sorted_images,
    subfolders,
)

from virb.contracts.examples import Examples

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip


def streets(root: Path, split: str) -> Examples:
    """Read ``<root>/leftImg8bit`` and ``<root>/gtFine`` (Cordts et al. 2016): masks (H, W) of 19 train ids, 255 void.

    Train is the set's train split; test is its val split, because the labels of its own test split are not public.
    """
    check_split("cityscapes", split)
    part = "train" if split == "train" else "val"
    images, masks = root / "leftImg8bit" / part, root / "gtFine" / part
    require("cityscapes", images, masks, expected="leftImg8bit/{train,val}/<city>/ and gtFine/{train,val}/<city>/")
    files = [path for city in subfolders(images) for path in sorted_images(images / city)]
    suffix = "_leftImg8bit.png"
    targets = [masks / p.parent.name / f"{p.name.removesuffix(suffix)}_gtFine_labelIds.png" for p in files]
    require_files("cityscapes", targets, images)
    table = _train_ids()

    def read(index: int) -> np.ndarray:
        ids = read_pixels("cityscapes", targets[index])
        known = table[ids] >= 0
        if not known.all():
            raise label_out_of_range(
                "cityscapes", str(targets[index]), int(ids[~known][0]), "label ids 0 to 33, or 255"
            )
        check_same_size("cityscapes", ids, targets[index], files[index])
        return table[ids].astype(np.uint8)

    return dense_files("cityscapes", root, files, read, targets=targets)


def _train_ids() -> np.ndarray:
    """Return int (256,): the train id of each label id, 255 for void and -1 for ids that do not exist."""
    from torchvision.datasets import Cityscapes

    table = np.full(256, -1, dtype=np.int16)
    for one in Cityscapes.classes:
        # The licence plate's id is -1, which an 8-bit image stores as 255; it is void like its train id -1.
        table[one.id % 256] = one.train_id if 0 <= one.train_id < len(CLASSES) else IGNORE
    return table
