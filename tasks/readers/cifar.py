"""CIFAR-100, through torchvision, which checks the files' MD5 before it unpickles them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, require

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import ArrayImages


def cifar100(root: Path, split: str) -> Examples:
    """Read ``<root>/cifar-100-python/{train,test,meta}`` (Krizhevsky 2009): 32x32 images with their fine label."""
    check_split("cifar-100", split)
    folder = root / "cifar-100-python"
    require("cifar-100", folder, expected="the files train, test and meta of cifar-100-python.tar.gz")
    from torchvision.datasets import CIFAR100  # after the cheap check: this import takes seconds

    try:
        found = CIFAR100(str(root), train=split == "train")
    except RuntimeError as error:
        raise DataError(
            f"cifar-100: a file in {folder} is missing or its MD5 is not the published one. Extract the archive again."
        ) from error
    images = ArrayImages.of(f"cifar-100 {split}", np.ascontiguousarray(found.data))
    labels = np.asarray(found.targets, dtype=np.int64)
    return Examples(images, np.arange(len(labels))[:, None], labels, [f"{split}/{k}" for k in range(len(labels))])
