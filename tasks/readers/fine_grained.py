"""Sets of near kinds of one thing: Food-101, Birdsnap, Stanford Cars, FGVC Aircraft and Oxford 102 Flowers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_split,
    label_out_of_range,
    labelled_files,
    read_json,
    read_lines,
    read_mat,
    require,
    require_files,
    with_validation,
)

from virb.contracts.examples import Examples
from virb.contracts.tree import LabelTree
from virb.errors import DataError
from virb.images.listing import Listing, account


def food(root: Path, split: str, *, n_classes: int = 101) -> Examples:
    """Read ``<root>/images/<class>/<number>.jpg`` by ``<root>/meta/{train,test}.json`` (Bossard et al. 2014).

    Labels number the classes by name, as torchvision does.
    """
    check_split("food-101", split)
    listing = root / "meta" / f"{split}.json"
    require("food-101", root / "images", listing, expected="images/<class>/ and meta/{train,test}.json")
    listed = read_json("food-101", listing)
    if not isinstance(listed, dict) or not all(isinstance(paths, list) for paths in listed.values()):
        raise DataError(f"food-101: {listing} is not a list of images for each class.")
    names = sorted(listed)
    _check_n_classes("food-101", listing, len(names), n_classes)
    files = [root / "images" / f"{path}.jpg" for name in names for path in listed[name]]
    labels = np.repeat(np.arange(len(names)), [len(listed[name]) for name in names])
    require_files("food-101", files, listing)
    return labelled_files("food-101", root / "images", files, labels, classes=names)


def birdsnap(root: Path, split: str, *, n_classes: int = 500) -> Examples:
    """Read Birdsnap 1.1 (Berg et al. 2014): ``images.txt``, ``species.txt``, ``test_images.txt``, and ``download/images``.

    The images are those that its ``get_birdsnap.py`` could still fetch; the others are left out and counted. Label k is
    the species of id k + 1. Train is every image that ``test_images.txt`` does not name.
    """
    check_split("birdsnap", split)
    tables = [root / name for name in ("images.txt", "species.txt", "test_images.txt")]
    require("birdsnap", *tables, expected="images.txt, species.txt and test_images.txt of birdsnap.tgz")
    folder = next((root / name for name in ("download/images", "images") if (root / name).is_dir()), None)
    if folder is None:
        require("birdsnap", root / "download" / "images", expected="the images that get_birdsnap.py fetches")
    assert folder is not None
    images, species, tests = (_tab_table("birdsnap", path) for path in tables)
    _check_n_classes("birdsnap", tables[1], len(species), n_classes)
    names = {int(row["id"]): row["common"] for row in species}
    is_test = {row["path"] for row in tests}
    listing, labels = Listing(), []
    for row in images:
        if (row["path"] in is_test) != (split == "test"):
            continue
        label = int(row["species_id"])
        if label not in names:
            raise label_out_of_range("birdsnap", f"{row['path']} in {tables[0]}", label, "an id of species.txt")
        if not (folder / row["path"]).is_file():
            listing.leave_out("no longer to be had", row["path"])
            continue
        listing.paths.append(row["path"])
        labels.append(label - 1)
    files = [folder / path for path in listing.paths]
    order = [names[k + 1] for k in range(len(names))]
    seen = account(folder, [listing])
    return labelled_files("birdsnap", folder, files, labels, classes=order, accounting=seen)


def cars(root: Path, split: str, *, n_classes: int = 196) -> Examples:
    """Read ``<root>/cars_{train,test}/*.jpg`` by the .mat files of ``<root>/devkit`` (Krause et al. 2013).

    The test split's classes are in ``cars_test_annos_withlabels.mat``, beside the folders or in devkit.
    """
    check_split("stanford-cars", split)
    meta = root / "devkit" / "cars_meta.mat"
    name = "cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
    table = next((root / place / name for place in ("devkit", ".") if (root / place / name).is_file()), None)
    images = root / f"cars_{split}"
    expected = "cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat"
    require("stanford-cars", images, meta, table or root / "devkit" / name, expected=expected)
    assert table is not None
    names = [str(one) for one in np.atleast_1d(read_mat("stanford-cars", meta, "class_names"))]
    _check_n_classes("stanford-cars", meta, len(names), n_classes)
    rows = np.atleast_1d(read_mat("stanford-cars", table, "annotations"))
    try:
        files, labels = [images / str(row["fname"]) for row in rows], [int(row["class"]) - 1 for row in rows]
    except (ValueError, IndexError, TypeError) as error:
        raise DataError(f"stanford-cars: {table} has no fname and class for each image ({error}).") from error
    _check_range("stanford-cars", table, files, labels, n_classes)
    require_files("stanford-cars", files, table)
    return labelled_files("stanford-cars", images, files, labels, classes=names)


def aircraft(root: Path, split: str, *, n_classes: int = 100) -> Examples:
    """Read ``<root>/data/images/<id>.jpg`` by the lists of variants (Maji et al. 2013), with families and manufacturers.

    Train is the set's trainval, 6,667 images; test has 3,333. Labels follow ``variants.txt``.
    """
    check_split("fgvc-aircraft", split)
    data, part = root / "data", "trainval" if split == "train" else "test"
    kinds = ("variant", "family", "manufacturer")
    lists = {kind: data / f"images_{kind}_{part}.txt" for kind in kinds}
    require("fgvc-aircraft", data / "images", data / "variants.txt", *lists.values(), expected="data/ of the archive")
    names = read_lines("fgvc-aircraft", data / "variants.txt")
    _check_n_classes("fgvc-aircraft", data / "variants.txt", len(names), n_classes)
    of: dict[str, dict[str, str]] = {}
    for kind, path in lists.items():
        of[kind] = dict(line.split(" ", 1) for line in read_lines("fgvc-aircraft", path) if " " in line)
    number = {name: k for k, name in enumerate(names)}
    unknown = [name for name in of["variant"].values() if name not in number]
    if unknown:
        raise label_out_of_range("fgvc-aircraft", str(lists["variant"]), unknown[0], "a line of variants.txt")
    levels = {}
    for kind in kinds[1:]:
        above = {variant: of[kind].get(key, "") for key, variant in of["variant"].items()}
        if "" in above.values() or set(above) != set(names):
            raise DataError(f"fgvc-aircraft: {lists[kind]} does not say the {kind} of every variant. Extract it again.")
        levels[kind] = [above[name] for name in names]
    files = [data / "images" / f"{key}.jpg" for key in of["variant"]]
    require_files("fgvc-aircraft", files, lists["variant"])
    labels = [number[name] for name in of["variant"].values()]
    found = labelled_files("fgvc-aircraft", data / "images", files, labels, classes=names)
    held = data / "images_variant_val.txt"
    if split == "train" and held.is_file():
        keys = {line.split(" ", 1)[0] for line in read_lines("fgvc-aircraft", held)}
        found = with_validation(found, [key in keys for key in of["variant"]])
    return replace(found, tree=LabelTree(levels))


def flowers(root: Path, split: str, *, n_classes: int = 102) -> Examples:
    """Read ``<root>/jpg/image_00001.jpg`` by ``imagelabels.mat`` and ``setid.mat`` (Nilsback and Zisserman 2008).

    Train is the set's train and validation part, 1,020 images each; test has 6,149.
    """
    check_split("flowers-102", split)
    tables = root / "imagelabels.mat", root / "setid.mat"
    require("flowers-102", root / "jpg", *tables, expected="jpg/, imagelabels.mat and setid.mat")
    labels = np.ravel(read_mat("flowers-102", tables[0], "labels")).astype(np.int64)
    _check_n_classes("flowers-102", tables[0], int(labels.max(initial=0)), n_classes)
    parts = ("trnid", "valid") if split == "train" else ("tstid",)
    numbers = np.concatenate([np.ravel(read_mat("flowers-102", tables[1], part)) for part in parts]).astype(np.int64)
    if len(numbers) and (numbers.min() < 1 or numbers.max() > len(labels)):
        raise DataError(f"flowers-102: {tables[1]} names image {int(numbers.max())}; {tables[0]} has {len(labels):,}.")
    files = [root / "jpg" / f"image_{number:05d}.jpg" for number in numbers]
    chosen = [int(label) for label in labels[numbers - 1] - 1]
    _check_range("flowers-102", tables[0], files, chosen, n_classes)
    require_files("flowers-102", files, tables[1])
    found = labelled_files("flowers-102", root / "jpg", files, chosen)
    n_fitted = len(np.ravel(read_mat("flowers-102", tables[1], "trnid")))
    return with_validation(found, np.arange(len(found)) >= n_fitted) if split == "train" else found


def _check_n_classes(name: str, where: Path, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(f"{name} is incomplete: {where} has {found:,} classes; expected {expected:,}.")


def _check_range(name: str, where: Path, files: list[Path], labels: list[int], n_classes: int) -> None:
    for path, label in zip(files, labels, strict=True):
        if not 0 <= label < n_classes:
            raise label_out_of_range(name, f"{path.name} in {where}", label + 1, f"1 to {n_classes}")


def _tab_table(name: str, path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with tabs between its cells and the names of its columns in the first line."""
    head, *lines = (line.split("\t") for line in read_lines(name, path))
    return [dict(zip(head, line, strict=False)) for line in lines]
