"""Data sets that are a folder a class: ImageNet, ImageNet v2, Caltech-101, EuroSAT and SUN397."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_split,
    counted_folders,
    first_by_hash,
    labelled_files,
    read_lines,
    relative,
    require,
    subfolders,
)
from virb.tasks.readers.common import (
    class_folders as class_folders,  # task files take it from here
)

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.listing import Accounting


def imagenet(root: Path, split: str, *, n_classes: int = 1000) -> Examples:
    """Read ``<root>/train/<wnid>/*.JPEG`` or, for the test split, ``<root>/val/<wnid>/*.JPEG`` (Deng et al. 2009).

    Labels number the WordNet ids in their sorted order, as torchvision and ImageNet v2 do.
    """
    check_split("imagenet", split)
    folder = root / ("train" if split == "train" else "val")
    require("imagenet", folder, expected="a folder train/ and a folder val/ with a folder a WordNet id in each")
    wnids = [wnid for wnid in subfolders(folder) if wnid[0] == "n" and wnid[1:].isdigit()]
    _check_n_classes("imagenet", folder, len(wnids), n_classes)
    files, labels, seen = counted_folders("imagenet", folder, wnids)
    return labelled_files("imagenet", folder, files, labels, accounting=seen)


def imagenet_v2(root: Path, split: str, *, n_classes: int = 1000) -> Examples:
    """Read ``<root>/<class number>/*.jpeg`` (Recht et al. 2019, matched frequency); it has a test split only.

    A folder's name is the number of ImageNet's class: 10 is class 10, although it sorts before 2.
    """
    if split != "test":
        raise DataError("imagenet-v2 has a test split only; its heads are ImageNet's.")
    require("imagenet-v2", root, expected="folders 0 to 999 of images")
    found = {name for name in subfolders(root) if name.isdigit()}
    _check_n_classes("imagenet-v2", root, len(found), n_classes)
    files, labels, seen = counted_folders("imagenet-v2", root, [str(k) for k in range(n_classes)])
    return labelled_files("imagenet-v2", root, files, labels, accounting=seen)


def caltech101(root: Path, split: str, *, n_classes: int = 102, n_train_per_class: int = 30) -> Examples:
    """Read ``<root>/101_ObjectCategories/<category>/image_0001.jpg`` (Fei-Fei et al. 2004).

    Train is 30 images of each category, chosen by the hash of their path; test is the rest. The background category
    counts as the 102nd class: only so are there the paper's 3,060 training images.
    """
    check_split("caltech-101", split)
    folder = root / "101_ObjectCategories"
    require("caltech-101", folder, expected="101_ObjectCategories/ with a folder a category")
    names = subfolders(folder)
    _check_n_classes("caltech-101", folder, len(names), n_classes)
    files, labels, seen = counted_folders("caltech-101", folder, names)
    is_train = _stratified(relative(files, folder), labels, lambda n: min(n_train_per_class, n - 1))
    return _part("caltech-101", folder, files, labels, is_train, split, seen)


def eurosat(root: Path, split: str, *, n_classes: int = 10) -> Examples:
    """Read ``<root>/2750/<class>/*.jpg`` (Helber et al. 2019): 80 % of each class train, chosen by hash, 20 % test."""
    check_split("eurosat", split)
    folder = root / "2750"
    require("eurosat", folder, expected="2750/ with a folder a class")
    names = subfolders(folder)
    _check_n_classes("eurosat", folder, len(names), n_classes)
    files, labels, seen = counted_folders("eurosat", folder, names)
    is_train = _stratified(relative(files, folder), labels, lambda n: n * 4 // 5)
    return _part("eurosat", folder, files, labels, is_train, split, seen)


def sun397(root: Path, split: str, *, n_classes: int = 397) -> Examples:
    """Read ``<root>/a/abbey/sun_*.jpg``, classes as ``<root>/ClassName.txt`` lists them (Xiao et al. 2010).

    Train is the first 80 % of all images in the order of the hash of their path (87,003 of 108,754), test the rest.
    """
    check_split("sun397", split)
    listing = root / "ClassName.txt"
    require("sun397", listing, expected="ClassName.txt beside the folders a/ to z/")
    names = [line.lstrip("/") for line in read_lines("sun397", listing)]
    _check_n_classes("sun397", listing, len(names), n_classes)
    files, labels, seen = counted_folders("sun397", root, names)
    is_train = first_by_hash(relative(files, root), len(files) * 4 // 5)
    return _part("sun397", root, files, labels, is_train, split, seen)


def _check_n_classes(name: str, where: Path, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{name} is incomplete: {where} has {found:,} classes; expected {expected:,}.")


def _stratified(keys: list[str], labels: np.ndarray, n_train_of: Callable[[int], int]) -> np.ndarray:
    is_train = np.zeros(len(keys), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        is_train[rows] = first_by_hash([keys[row] for row in rows], n_train_of(len(rows)))
    return is_train


def _part(
    name: str,
    root: Path,
    files: list[Path],
    labels: np.ndarray,
    is_train: np.ndarray,
    split: str,
    seen: Accounting,
) -> Examples:
    rows = np.flatnonzero(is_train if split == "train" else ~is_train)
    chosen = [files[row] for row in rows]
    return labelled_files(name, root, chosen, labels[rows], accounting=seen.of_split(len(rows)))
