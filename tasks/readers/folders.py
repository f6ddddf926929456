"""Data sets that are a folder a class: ImageNet, ImageNet v2, Caltech-101, EuroSAT and SUN397."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from virb.tasks.readers import wordnet
from virb.tasks.readers.common import (
    check_split,
    counted_folders,
    first_by_hash,
    label_out_of_range,
    labelled_files,
    read_lines,
    relative,
    require,
    require_files,
    sorted_images,
    subfolders,
)
from virb.tasks.readers.common import (
    class_folders as class_folders,  # task files take it from here
)

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import Accounting
from virb.errors import DataError


def imagenet(root: Path, split: str, *, n_classes: int = 1000) -> Examples:
    """Read ``<root>/train/<wnid>/*.JPEG`` or, for the test split, ``<root>/val/<wnid>/*.JPEG`` (Deng et al. 2009).

    Labels number the WordNet ids in their sorted order, as torchvision and ImageNet v2 do.
    """
    check_split("imagenet", split)
    folder = root / ("train" if split == "train" else "val")
    require("imagenet", folder, expected="a folder train/ and a folder val/ with a folder a WordNet id in each")
    wnids = [wnid for wnid in subfolders(folder) if wnid[0] == "n" and wnid[1:].isdigit()]
    if not wnids and sorted_images(folder):
        raise DataError(
            f"imagenet: {folder} is flat, as its archive is: {len(sorted_images(folder)):,} images that are not sorted into a "
            "folder a WordNet id. With ILSVRC2012_devkit_t12.tar.gz beside it, virb data prepare imagenet sorts it."
        )
    _check_n_classes("imagenet", folder, len(wnids), n_classes)
    files, labels, seen = counted_folders("imagenet", folder, wnids)
    return labelled_files("imagenet", folder, files, labels, accounting=seen)


def sort_val(root: Path) -> None:
    """Move the images of a flat ``<root>/val`` into a folder a WordNet id, by the development kit's list; else do nothing.

    Raises:
        DataError: the kit is not there, or lists another number of images.
    """
    from torchvision.datasets import imagenet

    folder = root / "val"
    files = sorted_images(folder) if folder.is_dir() else []
    if not files:
        return
    try:
        if not (root / imagenet.META_FILE).is_file():
            imagenet.parse_devkit_archive(str(root))
        wnids = imagenet.load_meta_file(str(root))[1]
    except RuntimeError as error:
        raise DataError(
            f"imagenet: {folder} is flat, and sorting it needs ILSVRC2012_devkit_t12.tar.gz in {root} ({error})."
        ) from error
    if len(wnids) != len(files):
        raise DataError(f"imagenet: {folder} has {len(files):,} images; the development kit lists {len(wnids):,}.")
    for wnid, path in zip(wnids, files, strict=True):
        (folder / wnid).mkdir(exist_ok=True)
        path.rename(folder / wnid / path.name)


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


def imagenet_tree(root: Path, split: str, context: DataContext, *, n_classes: int = 1000) -> Examples:
    """Return ImageNet's examples with the names of their classes, and WordNet's levels where WordNet is there."""
    found = imagenet(root, split, n_classes=n_classes)
    wnids = tuple(dict.fromkeys(path.partition("/")[0] for path in found.ids))  # in the order of their numbers
    return replace(found, classes=wnids, tree=wordnet.tree(context, wnids))


def imagenet_100(root: Path, whole: Path, split: str, context: DataContext, *, n_classes: int = 100) -> Examples:
    """Read ``<root>/{train,val}/<wnid>/``, or the classes that ``<root>/imagenet100.txt`` lists out of ImageNet's ``whole``.

    The list has WordNet ids between white space (Tian et al. 2020). Labels number them in their sorted order.
    """
    check_split("imagenet-100", split)
    listing, part = root / "imagenet100.txt", "train" if split == "train" else "val"
    if not listing.is_file() or (root / part).is_dir():
        require("imagenet-100", root / part, expected="imagenet100.txt, or folders train/ and val/ of 100 classes")
        return imagenet_tree(root, split, context, n_classes=n_classes)
    wnids = sorted(wnid for line in read_lines("imagenet-100", listing) for wnid in line.split())
    _check_n_classes("imagenet-100", listing, len(set(wnids)), n_classes)
    require("imagenet-100", whole / part, expected=f"ImageNet's folder {part}/, of which {listing} lists the classes")
    files, labels, seen = counted_folders("imagenet-100", whole / part, wnids)
    found = labelled_files("imagenet-100", whole / part, files, labels, classes=wnids, accounting=seen)
    return replace(found, tree=wordnet.tree(context, wnids))


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


def sun397_partition(root: Path, split: str, *, n_classes: int = 397, partition: int = 1) -> Examples:
    """Read the same folders by ``Training_01.txt`` and ``Testing_01.txt``, lines such as /a/abbey/sun_aaa.jpg.

    The publishers' Partitions.zip has ten pairs of lists, 50 images of each class on either side.
    """
    check_split("sun397", split)
    name = f"{'Training' if split == 'train' else 'Testing'}_{partition:02d}.txt"
    places = [root / name, root / "Partitions" / name, root.parent / "Partitions" / name]
    listing = next((path for path in places if path.is_file()), places[0])
    table = next((path for path in (root / "ClassName.txt", listing.parent / "ClassName.txt") if path.is_file()), None)
    require("sun397", table or root / "ClassName.txt", listing, expected=f"ClassName.txt and {name} of Partitions.zip")
    assert table is not None
    names = [line.lstrip("/") for line in read_lines("sun397", table)]
    _check_n_classes("sun397", table, len(names), n_classes)
    number = {name: k for k, name in enumerate(names)}
    paths = [line.lstrip("/") for line in read_lines("sun397", listing)]
    unknown = [path for path in paths if path.rpartition("/")[0] not in number]
    if unknown:
        raise label_out_of_range("sun397", str(listing), unknown[0], "an image of a class of ClassName.txt")
    files = [root / path for path in paths]
    require_files("sun397", files, listing)
    return labelled_files("sun397", root, files, [number[p.rpartition("/")[0]] for p in paths], classes=names)


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
