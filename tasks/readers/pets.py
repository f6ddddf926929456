"""Oxford-IIIT Pets, as torchvision lays it out: breeds, and trimaps of the animal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_same_size,
    check_split,
    dense_files,
    label_out_of_range,
    labelled_files,
    read_lines,
    read_pixels,
    require,
    require_files,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

N_BREEDS = 37


def breeds(root: Path, split: str) -> Examples:
    """Return images with their breed, 0 to 36 (Parkhi et al. 2012); train is the set's trainval list."""
    files, labels = _listed(root, split)
    return labelled_files("pets", root, files, labels)


def masks(root: Path, split: str) -> Examples:
    """Return images with masks (H, W): 0 background, 1 animal. The trimap's border counts as animal.

    Trimaps hold 1 for the animal, 2 for the background and 3 for the border between them.
    """
    files, _ = _listed(root, split)
    trimaps = [root / "annotations" / "trimaps" / f"{path.stem}.png" for path in files]
    require_files("pets", trimaps, _listing(root, split))

    def read(index: int) -> np.ndarray:
        trimap = read_pixels("pets", trimaps[index])
        if trimap.ndim != 2 or not np.isin(trimap, (1, 2, 3)).all():
            raise DataError(
                f"pets: {trimaps[index]} holds values other than 1 (animal), 2 (background) and 3 (border): "
                f"{np.unique(trimap)[:8].tolist()}."
            )
        check_same_size("pets", trimap, trimaps[index], files[index])
        return (trimap != 2).astype(np.uint8)

    return dense_files("pets", root, files, read, targets=trimaps)


def _listing(root: Path, split: str) -> Path:
    check_split("pets", split)
    return root / "annotations" / ("trainval.txt" if split == "train" else "test.txt")


def _listed(root: Path, split: str) -> tuple[list[Path], list[int]]:
    listing = _listing(root, split)
    require("pets", root / "images", listing, expected="images/*.jpg and annotations/{trainval,test}.txt")
    files, labels = [], []
    for line in read_lines("pets", listing):
        parts = line.split()
        if len(parts) != 4 or not parts[1].isdigit():
            raise DataError(f"pets: {listing} has the line {line!r}; expected 'image class species breed'.")
        label = int(parts[1]) - 1
        if not 0 <= label < N_BREEDS:
            raise label_out_of_range("pets", f"{parts[0]} in {listing}", parts[1], f"1 to {N_BREEDS}")
        files.append(root / "images" / f"{parts[0]}.jpg")
        labels.append(label)
    require_files("pets", files, listing)
    return files, labels
