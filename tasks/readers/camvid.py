"""CamVid as the SegNet tutorial lays it out: road scenes from a few videos, eleven classes and void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_same_size,
    check_split,
    dense_files,
    label_out_of_range,
    read_lines,
    read_pixels,
    require,
    require_files,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

VOID = 11


def scenes(root: Path, split: str) -> Examples:
    """Read the images and masks that ``<root>/{train,val,test}.txt`` name (Brostow et al. 2009; Kendall et al. 2015).

    A line has two paths, which begin with /SegNet/CamVid/; from ``train/`` or ``trainannot/`` on they lie below ``root``.
    Masks (H, W) hold classes 0 to 10 and 11, void. Train is train and val together, in groups by video (0016E5 of
    0016E5_00390.png): what is held out are whole videos, which the published val is not.
    """
    check_split("camvid", split)
    lists = [root / f"{part}.txt" for part in (("train", "val") if split == "train" else ("test",))]
    require("camvid", *lists, expected="{train,val,test}.txt and their folders, CamVid/ of the SegNet tutorial")
    files, masks = [], []
    for listing in lists:
        for line in read_lines("camvid", listing):
            pair = line.split()
            if len(pair) != 2:
                raise DataError(
                    f"camvid: {listing} has the line {line!r}; expected the paths of an image and its mask."
                )
            image, mask = (root.joinpath(*Path(path).parts[-2:]) for path in pair)
            files.append(image)
            masks.append(mask)
    require_files("camvid", [*files, *masks], " and ".join(str(listing) for listing in lists))

    def read(index: int) -> np.ndarray:
        mask = read_pixels("camvid", masks[index])
        check_same_size("camvid", mask, masks[index], files[index])
        if mask.ndim != 2 or mask.max() > VOID:
            raise label_out_of_range("camvid", str(masks[index]), int(mask.max()), f"one class a pixel, 0 to {VOID}")
        return mask

    found = dense_files("camvid", root, files, read, targets=masks)
    return replace(found, groups=[path.name.split("_")[0] for path in files])
