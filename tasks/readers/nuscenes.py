"""nuScenes egomotion: two frames of the front camera, and which way the car went (Kotar et al. 2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, label_out_of_range, read_json, require, require_files

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import FileImages


def egomotion(root: Path, split: str, *, n_classes: int = 4) -> Examples:
    """Read ``<root>/nuScenes_{train,test}.json``: a list of {img_a, img_b, label}, paths below ``root``.

    Groups are the logs, a drive of the car each. Classes number the labels of the train list in their sorted order.
    """
    check_split("nuscenes", split)
    listings = {part: root / f"nuScenes_{part}.json" for part in ("train", "test")}
    require("nuscenes", *listings.values(), expected="nuScenes_train.json and nuScenes_test.json beside samples/")
    classes = sorted({str(label) for _, _, label in _rows(listings["train"])})
    if len(classes) != n_classes:
        raise DataError(f"nuscenes: {listings['train']} has the labels {classes}; expected {n_classes} of them.")
    files: list[Path] = []
    labels, ids = [], []
    for first, second, label in _rows(listings[split]):
        if str(label) not in classes:
            raise label_out_of_range("nuscenes", f"{first} in {listings[split]}", label, f"one of {classes}")
        files += [root / first, root / second]
        labels.append(classes.index(str(label)))
        ids.append(first)
    require_files("nuscenes", files, listings[split])
    frames = np.arange(len(files), dtype=np.int64).reshape(-1, 2)
    # A frame's name begins with its log, as n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460.jpg.
    groups = [Path(name).name.partition("__")[0] for name in ids]
    found = FileImages("nuscenes", root, files)
    return Examples(found, frames, np.asarray(labels, dtype=np.int64), ids, groups=groups)


def _rows(listing: Path) -> list[tuple[str, str, object]]:
    try:
        rows = [(row["img_a"], row["img_b"], row["label"]) for row in read_json("nuscenes", listing)]
    except (KeyError, TypeError) as error:
        raise DataError(f"nuscenes: {listing} is not a list of img_a, img_b and label ({error!r}).") from error
    if not rows:
        raise DataError(f"nuscenes: {listing} is empty; expected at least one pair of frames.")
    return rows
