"""Taskonomy: rooms of scanned buildings with the distance to the camera plane."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import (
    check_same_size,
    check_split,
    dense_files,
    first_by_hash,
    hash_order,
    read_lines,
    read_pixels,
    relative,
    require,
    require_files,
    sorted_images,
    subfolders,
)

from virb.contracts.examples import Examples
from virb.errors import DataError

NO_READING = 65535
UNITS_PER_M = 512
SIZES = ("fullplus", "full", "medium", "tiny", "debug")


def depth(root: Path, split: str, *, max_train: int | None = 39_995) -> Examples:
    """Read ``<root>/rgb/<building>/*_rgb.png`` and ``<root>/depth_zbuffer/<building>/*_depth_zbuffer.png``.

    Targets are depth (H, W) in metres, float32 (Zamir et al. 2018: 16 bits, 1/512 m a unit); 65535 has no reading and
    becomes NaN. The downloader's ``rgb/taskonomy/<building>`` is read too. Buildings, which are the groups, are split by a
    published list in ``root``, ``train_val_test_<size>.csv`` (columns id, train, val, test), where there is one; its val part
    is for choosing settings. Else by the hash of their name, a fifth of them test. Train is at most ``max_train`` images, by
    hash. Where ``root`` has folders train/ and test/, each with rgb/ and depth_zbuffer/, that split is used instead.
    """
    check_split("taskonomy", split)
    is_split_by_folder = (root / "train" / "rgb").is_dir()
    top = root / split if is_split_by_folder else root
    rgb, zbuffer = (_within(top / kind) for kind in ("rgb", "depth_zbuffer"))
    require("taskonomy", rgb, zbuffer, expected="rgb/<building>/*.png and depth_zbuffer/<building>/*.png")
    buildings = subfolders(rgb)
    held: list[str] = []
    published = _published(root)
    if not is_split_by_folder and published is not None:
        held = [] if split == "test" else [name for name in buildings if published.get(name) == "val"]
        buildings = [name for name in buildings if published.get(name) == split]
        if not buildings:
            raise DataError(
                f"taskonomy is incomplete: {rgb} has none of the buildings that the published list gives {split}."
            )
    elif not is_split_by_folder:
        if len(buildings) < 2:
            raise DataError(f"taskonomy is incomplete: {rgb} has {len(buildings)} buildings; expected at least two.")
        order = [buildings[k] for k in hash_order(buildings)]
        n_test = max(1, len(buildings) // 5)
        buildings = sorted(order[:n_test] if split == "test" else order[n_test:])
    files = [path for building in buildings for path in sorted_images(rgb / building)]
    if split == "train" and max_train is not None and len(files) > max_train:
        chosen = first_by_hash(relative(files, rgb), max_train)
        files = [path for path, is_chosen in zip(files, chosen, strict=True) if is_chosen]
    n_own = len(files)
    files += [path for building in held for path in sorted_images(rgb / building)]
    targets = [zbuffer / path.parent.name / path.name.replace("_domain_rgb", "_domain_depth_zbuffer") for path in files]
    require_files("taskonomy", targets, rgb)

    def read(index: int) -> np.ndarray:
        units = read_pixels("taskonomy", targets[index])
        if units.ndim != 2 or units.dtype == np.uint8:
            raise DataError(f"taskonomy: {targets[index]} is not a 16-bit grey image ({units.dtype}, {units.shape}).")
        check_same_size("taskonomy", units, targets[index], files[index])
        return np.where(units == NO_READING, np.nan, units / UNITS_PER_M).astype(np.float32)

    whole = replace(
        dense_files("taskonomy", top, files, read, targets=targets), groups=[path.parent.name for path in files]
    )
    if not held:
        return whole
    rows = np.arange(len(files))
    return replace(whole.subset(rows[:n_own]), validation=whole.subset(rows[n_own:]))


def _within(folder: Path) -> Path:
    """Return rgb/taskonomy, as the downloader lays it, or rgb itself."""
    inner = folder / "taskonomy"
    return inner if inner.is_dir() else folder


def _published(root: Path) -> dict[str, str] | None:
    """Return the split of each building by the largest published list that is there: train, val or test."""
    found = {path.stem: path for path in root.glob("train_val_test_*.csv")}
    chosen = next((found[f"train_val_test_{size}"] for size in SIZES if f"train_val_test_{size}" in found), None)
    if chosen is None:
        return None
    rows = list(csv.DictReader(read_lines("taskonomy", chosen)))
    if not rows or not {"id", "train", "val", "test"} <= set(rows[0]):
        raise DataError(f"taskonomy: {chosen} lacks one of the columns id, train, val and test.")
    return {
        row["id"]: part
        for row in rows
        for part in ("train", "val", "test")
        if row[part].strip() in ("1", "True", "true")
    }
