"""The three AI2-THOR sets of Kotar et al. 2021: steps ahead, egomotion and depth."""

from __future__ import annotations

from dataclasses import replace
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
    sorted_images,
    subfolders,
)

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.sets import FileImages

ACTIONS = ("MoveAhead", "RotateLeft", "RotateRight", "LookUp", "LookDown")
MAX_STEPS = 4
NEAR_M, FAR_M = 0.1, 20.0  # the clipping planes of AI2-THOR's camera, between which its depth images are linear


def num_steps(root: Path, split: str) -> Examples:
    """Read ``<root>/{train,val}_labels.txt``, lines "key steps", and ``<root>/<key>_rgb.jpg``.

    Labels are 0 to 4 steps of 0.25 m.
    """
    files, values, listing = _labelled(root, split, "thor-num-steps", ("_rgb.jpg",))
    labels = []
    for (file,), value in zip(files, values, strict=True):
        if not value.isdigit() or int(value) > MAX_STEPS:
            raise label_out_of_range("thor-num-steps", f"{file} in {listing}", value, f"0 to {MAX_STEPS}")
        labels.append(int(value))
    found = labelled_files("thor-num-steps", root, [file for (file,) in files], labels)
    return replace(found, groups=[file.parent.name for (file,) in files])


def egomotion(root: Path, split: str) -> Examples:
    """Read ``<root>/{train,val}_labels.txt``, lines "key action", and ``<root>/<key>_rgb_{a,b}.jpg``: two frames."""
    files, values, listing = _labelled(root, split, "thor-egomotion", ("_rgb_a.jpg", "_rgb_b.jpg"))
    labels = []
    for pair, value in zip(files, values, strict=True):
        if value not in ACTIONS:
            what = f"{pair[0]} in {listing}"
            raise label_out_of_range("thor-egomotion", what, value, f"one of {', '.join(ACTIONS)}")
        labels.append(ACTIONS.index(value))
    images = FileImages("thor-egomotion", root, [file for pair in files for file in pair])
    frames = np.arange(2 * len(files), dtype=np.int64).reshape(-1, 2)
    ids = [pair[0].relative_to(root).as_posix().removesuffix("_rgb_a.jpg") for pair in files]
    groups = [pair[0].parent.name for pair in files]  # the scenes
    return Examples(images, frames, np.asarray(labels, dtype=np.int64), ids, groups=groups)


def depth(root: Path, split: str) -> Examples:
    """Read ``<root>/{train,test}/<scene>/*rgb.jpg`` and ``*depth.jpg``: depth (H, W) in metres, float32.

    The depth images have 8 bits. They are read as the simulator writes depth: 0 is its near plane at 0.1 m, 255 its
    far plane at 20 m, linear between them, so that a unit is 78 mm.
    """
    check_split("thor-depth", split)
    folder = root / split
    require("thor-depth", folder, expected="{train,test}/<scene>/*rgb.jpg with *depth.jpg beside each")
    files = [
        path for scene in subfolders(folder) for path in sorted_images(folder / scene) if path.name.endswith("rgb.jpg")
    ]
    targets = [path.with_name(f"{path.name.removesuffix('rgb.jpg')}depth.jpg") for path in files]
    require_files("thor-depth", targets, folder)

    def read(index: int) -> np.ndarray:
        grey = read_pixels("thor-depth", targets[index], "L")
        check_same_size("thor-depth", grey, targets[index], files[index])
        return (NEAR_M + grey.astype(np.float32) / 255 * (FAR_M - NEAR_M)).astype(np.float32)

    found = dense_files("thor-depth", root, files, read, targets=targets)
    return replace(found, groups=[path.parent.name for path in files])


def _labelled(
    root: Path, split: str, name: str, endings: tuple[str, ...]
) -> tuple[list[tuple[Path, ...]], list[str], Path]:
    check_split(name, split)
    listing = root / f"{'train' if split == 'train' else 'val'}_labels.txt"
    require(
        name,
        listing,
        expected=f"train_labels.txt and val_labels.txt, lines of a key and a label, and <key>{endings[0]}",
    )
    files, values = [], []
    for line in read_lines(name, listing):
        key, _, value = line.rpartition(" ")
        if not key:
            raise DataError(f"{name}: {listing} has the line {line!r}; expected a key and a label.")
        files.append(tuple(root / f"{key}{ending}" for ending in endings))
        values.append(value)
    require_files(name, [file for group in files for file in group], listing)
    return files, values, listing
