"""INRIA Copydays (Douze et al. 2009): photographs, and altered copies of them that are to be traced back.

The layout, and that a copy's first four characters name its photograph, are those of DINO's evaluation
(Caron et al. 2021; github.com/facebookresearch/dino, eval_copy_detection.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, require, sorted_images

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import FileImages

NAME = "copydays"
SHARED = 4  # characters that a copy's name and its photograph's begin with


def copies(root: Path, split: str) -> Examples:
    """Read ``<root>/original/*.jpg``, ``<root>/strong/*.jpg`` and, where it is there, ``<root>/distractors/``.

    Train are the photographs that are searched, numbered by name, and after them the distractors, which nothing is a
    copy of. Test are the strong copies; their targets are int8 (Q, M): 1 for the photograph that begins with the same four
    characters, 0 for all others.
    """
    check_split(NAME, split)
    folders = [root / "original", root / "strong"]
    require(NAME, *folders, expected="original/200000.jpg ... and strong/200001.jpg ...")
    originals, strong = (sorted_images(folder) for folder in folders)
    for folder, found in zip(folders, (originals, strong), strict=True):
        if not found:
            raise DataError(f"{NAME}: {folder} holds no image. Extract its archive again.")
    others = sorted_images(root / "distractors") if (root / "distractors").is_dir() else []
    searched = [*originals, *others]
    files = searched if split == "train" else strong
    ids = [path.relative_to(root).as_posix() for path in files]
    images, frames = FileImages(NAME, root, files), np.arange(len(files), dtype=np.int64)[:, None]
    if split == "train":
        return Examples(images, frames, np.arange(len(files)), ids)
    starts = np.array([path.name[:SHARED] for path in originals])
    relevance = np.zeros((len(strong), len(searched)), np.int8)
    for k, path in enumerate(strong):
        relevance[k, : len(originals)] = starts == path.name[:SHARED]
        if not relevance[k].any():
            raise DataError(
                f"{NAME}: {path} is a copy of nothing in {folders[0]}: none begins with {path.name[:SHARED]!r}. Extract "
                "copydays_original.tar.gz again."
            )
    return Examples(images, frames, relevance, ids)
