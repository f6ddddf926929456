"""iNaturalist 2021 and Places365: ten thousand species and 365 scenes, each with the tree that its publishers give."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from virb.tasks.readers.common import (
    check_split,
    counted_folders,
    label_out_of_range,
    labelled_files,
    read_lines,
    require,
    require_files,
    subfolders,
)

from virb.contracts.examples import Examples
from virb.contracts.tree import LabelTree
from virb.errors import DataError
from virb.images.decode import read_bytes, shown

RANKS = ("kingdom", "phylum", "class (rank)", "order", "family", "genus")  # above the species, as folders name them
PLACES_RULE = (
    "Of several marks of a scene the first column counts: among the three places, then among the columns of that place."
)
#: Of the sixteen columns of the second level, how many belong to each of the three of the first.
PLACES_COLUMNS = (6, 4, 6)


def inat21(root: Path, split: str, *, n_classes: int = 10_000) -> Examples:
    """Read ``<root>/{train,val}/00000_Animalia_Annelida_.../*.jpg``, or torchvision's 2021_train and 2021_valid.

    A folder's name is a number and seven ranks, kingdom to species (Van Horn et al. 2021); the tree is made of them. Test
    is the validation set.
    """
    check_split("inat21", split)
    names = ("train", "2021_train") if split == "train" else ("val", "2021_valid")
    folder = next((root / name for name in names if (root / name).is_dir()), root / names[0])
    require("inat21", folder, expected="train/ and val/ (or 2021_train/ and 2021_valid/) with a folder a species")
    species = subfolders(folder)
    if len(species) != n_classes:
        raise DataError(f"inat21 is incomplete: {folder} has {len(species):,} classes; expected {n_classes:,}.")
    paths = [tuple(name.split("_")[1:]) for name in species]
    bad = next((name for name, path in zip(species, paths, strict=True) if len(path) <= len(RANKS)), None)
    if bad is not None:
        raise DataError(
            f"inat21: {folder} has the folder {shown(bad)!r}; expected a number and seven ranks, as "
            "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris."
        )
    levels = {rank: _distinct(paths, k + 1) for k, rank in reversed(list(enumerate(RANKS)))}
    files, labels, seen = counted_folders("inat21", folder, species)
    found = labelled_files("inat21", folder, files, labels, classes=species, accounting=seen)
    return replace(found, tree=LabelTree(levels))


def places365(root: Path, split: str, *, n_classes: int = 365) -> Examples:
    """Read Places365-Standard as torchvision lays it out, the small images (256x256) or the large (Zhou et al. 2017).

    ``categories_places365.txt``, ``places365_train_standard.txt`` with ``data_256_standard/`` (or data_256, data_large...),
    ``places365_val.txt`` with ``val_256/`` (or val_large). Test is the validation set. The publishers' "Scene hierarchy",
    saved as .csv or .tsv beside them, gives two more levels.
    """
    check_split("places365", split)
    categories = root / "categories_places365.txt"
    listing = root / ("places365_train_standard.txt" if split == "train" else "places365_val.txt")
    require("places365", categories, listing, expected="the file lists of places2.csail.mit.edu")
    names = [line.rsplit(" ", 1)[0] for line in read_lines("places365", categories)]
    if len(names) != n_classes:
        raise DataError(f"places365 is incomplete: {categories} has {len(names)} classes; expected {n_classes}.")
    stems = ("data_256_standard", "data_256", "data_large_standard", "data_large")
    folders = stems if split == "train" else ("val_256", "val_large")
    folder = next((root / name for name in folders if (root / name).is_dir()), root / folders[0])
    require("places365", folder, expected=" or ".join(f"{name}/" for name in folders))
    files, labels = [], []
    for line in read_lines("places365", listing):
        path, _, label = line.rpartition(" ")
        if not label.isdigit() or not 0 <= int(label) < n_classes:
            raise label_out_of_range("places365", f"{path or line} in {listing}", label, f"0 to {n_classes - 1}")
        files.append(folder / path.lstrip("/"))
        labels.append(int(label))
    require_files("places365", files, listing)
    found = labelled_files("places365", folder, files, labels, classes=[name[3:] for name in names])
    return replace(found, tree=_scene_tree(root, names))


def _distinct(paths: Sequence[tuple[str, ...]], depth: int) -> list[str]:
    """Return the ancestor of each path after ``depth`` steps; one name for two of them is told apart by its parents."""
    whole: dict[str, set[tuple[str, ...]]] = {}
    for path in paths:
        whole.setdefault(path[depth - 1], set()).add(path[:depth])
    return [
        path[depth - 1] if len(whole[path[depth - 1]]) == 1 else f"{path[depth - 1]} ({'/'.join(path[: depth - 1])})"
        for path in paths
    ]


def _scene_tree(root: Path, names: Sequence[str]) -> LabelTree | None:
    """Read the table of scenes: a line of names of columns, then a line a scene with 1 where it belongs."""
    path = next((p for p in sorted(root.iterdir()) if "hierar" in p.name.lower().replace("hierach", "hierarch")), None)
    if path is None or path.suffix.lower() not in (".csv", ".tsv"):
        return None
    text = read_bytes(path).decode("utf-8-sig", "replace")
    rows = list(csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
    head = next((k for k, row in enumerate(rows) if any(cell.strip().lower() == "indoor" for cell in row)), None)
    n_above = len(PLACES_COLUMNS)
    wanted = 1 + n_above + sum(PLACES_COLUMNS)
    if head is None or len(rows[head]) < wanted:
        raise DataError(
            f"places365: {path} is not the scene hierarchy; expected a line with 'indoor' and {wanted} columns."
        )
    titles = [cell.strip() for cell in rows[head][1:wanted]]
    marks = {
        row[0].strip().strip("'\""): [cell.strip() == "1" for cell in row[1:wanted]] for row in rows[head + 1 :] if row
    }
    place, kind = [], []
    for name in names:
        marked = marks.get(name)
        if marked is None or not any(marked[:n_above]):
            raise DataError(f"places365: {path} does not say where {name} belongs; expected a line with a mark for it.")
        first = marked.index(True)
        start = n_above + sum(PLACES_COLUMNS[:first])
        of_place = range(start, start + PLACES_COLUMNS[first])
        second = next((titles[k] for k in of_place if marked[k]), "none of its kinds")
        place.append(titles[first])
        kind.append(f"{titles[first]}: {second}")
    return LabelTree({"kind of place": kind, "place": place}, PLACES_RULE)
