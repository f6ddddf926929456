"""CIFAR-10 and CIFAR-100, through torchvision, which checks the files' MD5 before it unpickles them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.readers.common import check_split, require

from virb.contracts.examples import Examples
from virb.contracts.tree import LabelTree
from virb.errors import DataError
from virb.images.sets import ArrayImages

FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}


def cifar10(root: Path, split: str) -> Examples:
    """Read ``<root>/cifar-10-batches-py/{data_batch_1..5,test_batch,batches.meta}`` (Krizhevsky 2009): 32x32 images."""
    found = _found("CIFAR10", "cifar-10", root, split, "the files data_batch_1 to 5, test_batch and batches.meta")
    return _examples("cifar-10", split, found)


def cifar100(root: Path, split: str) -> Examples:
    """Read ``<root>/cifar-100-python/{train,test,meta}`` (Krizhevsky 2009): 32x32 images with their fine label."""
    found = _found("CIFAR100", "cifar-100", root, split, "the files train, test and meta of cifar-100-python.tar.gz")
    return _examples("cifar-100", split, found)


def cifar100_tree(root: Path, split: str) -> Examples:
    """Return the same examples with the names of the classes and their 20 superclasses, from the same files."""
    found = _found("CIFAR100", "cifar-100", root, split, "the files train, test and meta of cifar-100-python.tar.gz")
    folder = root / FOLDERS["CIFAR100"]
    # torchvision has checked the MD5 of both files, so these are the published pickles
    rows, meta = (pickle.loads((folder / name).read_bytes(), encoding="latin1") for name in (split, "meta"))
    names = [str(name) for name in meta["coarse_label_names"]]
    above: dict[int, int] = {}
    for fine, coarse in zip(rows["fine_labels"], rows["coarse_labels"], strict=True):
        if above.setdefault(fine, coarse) != coarse:
            raise DataError(f"cifar-100: {folder / split} has class {fine} in two superclasses. Extract it again.")
    absent = sorted(set(range(len(found.classes))) - set(above))
    if absent:
        raise DataError(f"cifar-100: {folder / split} has no image of class {absent[0]}. Extract the archive again.")
    tree = LabelTree({"superclass": [names[above[k]] for k in range(len(found.classes))]})
    return _examples("cifar-100", split, found, tree)


def _found(kind: str, name: str, root: Path, split: str, expected: str) -> Any:
    """Return torchvision's set."""
    check_split(name, split)
    folder = root / FOLDERS[kind]
    require(name, folder, expected=expected)
    import torchvision.datasets as sets  # after the cheap check: this import takes seconds

    try:
        return getattr(sets, kind)(str(root), train=split == "train")
    except RuntimeError as error:
        kind_of = getattr(sets, kind)
        about = kind_of.meta
        listed = [*kind_of.train_list, *kind_of.test_list, (about["filename"], about["md5"])]
        absent = [file for file, _ in listed if not (folder / file).is_file()]
        wrong = [file for file, md5 in listed if not absent and not sets.utils.check_integrity(folder / file, md5)]
        what = (
            f"there is no {folder / absent[0]}"
            if absent
            else f"the MD5 of {folder / next(iter(wrong), '')} is not the published one"
        )
        raise DataError(f"{name}: {what}. Extract the archive again.") from error


def _examples(name: str, split: str, found: Any, tree: LabelTree | None = None) -> Examples:
    images = ArrayImages.of(f"{name} {split}", np.ascontiguousarray(found.data))
    labels = np.asarray(found.targets, dtype=np.int64)
    classes = () if name == "cifar-100" and tree is None else tuple(found.classes)  # whose records have numbers
    ids = [f"{split}/{k}" for k in range(len(labels))]
    return Examples(images, np.arange(len(labels))[:, None], labels, ids, classes=classes, tree=tree)
