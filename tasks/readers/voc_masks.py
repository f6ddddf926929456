"""Pascal VOC 2012 segmentation, as torchvision lays it out: twenty kinds of things, background, and void along their borders."""

from __future__ import annotations

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
)

from virb.contracts.examples import Examples

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def masks(root: Path, split: str) -> Examples:
    """Read ``<root>/VOC2012/SegmentationClass`` by ``ImageSets/Segmentation/{train,val}.txt`` (Everingham et al. 2010).

    Masks (H, W) hold 0 background, 1 to 20 and 255 void. The png have palettes: what counts is a pixel's index, not its
    colour. Train is the set's train list, test its val list: the labels of its own test images are not public.
    """
    check_split("voc2012", split)
    top = root / "VOC2012"
    folder, listing = (
        top / "SegmentationClass",
        top / "ImageSets" / "Segmentation" / ("train.txt" if split == "train" else "val.txt"),
    )
    require(
        "voc2012",
        top / "JPEGImages",
        folder,
        listing,
        expected="VOC2012/{JPEGImages,SegmentationClass}/ and ImageSets/Segmentation/{train,val}.txt",
    )
    stems = read_lines("voc2012", listing)
    files = [top / "JPEGImages" / f"{stem}.jpg" for stem in stems]
    targets = [folder / f"{stem}.png" for stem in stems]
    require_files("voc2012", [*files, *targets], listing)

    def read(index: int) -> np.ndarray:
        mask = read_pixels("voc2012", targets[index])
        wrong = np.unique(mask[(mask >= len(CLASSES)) & (mask != IGNORE)])
        if mask.ndim != 2 or len(wrong):
            found = f"{mask.shape[2]} channels" if mask.ndim == 3 else int(wrong[0])
            raise label_out_of_range(
                "voc2012", str(targets[index]), found, "a palette's index a pixel, 0 to 20, or 255 for void"
            )
        check_same_size("voc2012", mask, targets[index], files[index])
        return mask

    return dense_files("voc2012", top, files, read, targets=targets)
