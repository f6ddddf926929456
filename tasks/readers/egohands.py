"""EgoHands: frames from a head-worn camera with polygons of up to four hands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.readers.common import (
    LazyTargets,
    check_split,
    hash_order,
    image_size,
    relative,
    require,
    sorted_images,
    subfolders,
)

from virb.contracts.examples import Examples
from virb.contracts.images import of_array, stacked
from virb.errors import DataError
from virb.images.sets import FileImages

SAMPLES = "_LABELLED_SAMPLES"
HANDS = ("myleft", "myright", "yourleft", "yourright")
CLASSES = ("background", "own left hand", "own right hand", "other's left hand", "other's right hand")


def hands(
    root: Path, split: str, *, n_train: int = 36, n_valid: int = 4, n_test: int = 8, frames_per_video: int = 100
) -> Examples:
    """Read ``<root>/_LABELLED_SAMPLES/<video>/frame_*.jpg`` and ``polygons.mat`` (Bambach et al. 2015).

    Masks are (H, W): 0 background, 1 to 4 as ``CLASSES``; a polygon of one or two points covers nothing and is passed over,
    what leaves the frame is cut off. Videos, which are the groups, are split by the hash of their name: 8 test, 36 train, and
    4 are the validation part, which no head trains on.
    """
    check_split("egohands", split)
    top = root / SAMPLES
    require("egohands", top, expected="_LABELLED_SAMPLES/<video>/frame_*.jpg and polygons.mat")
    videos = [video for video in subfolders(top) if (top / video / "polygons.mat").is_file()]
    if len(videos) != n_train + n_valid + n_test:
        raise DataError(
            f"egohands is incomplete: {top} has {len(videos)} videos with polygons.mat; "
            f"expected {n_train + n_valid + n_test}."
        )
    order = [videos[k] for k in hash_order(videos)]
    held = [] if split == "test" else sorted(order[n_test : n_test + n_valid])
    chosen = sorted(order[:n_test] if split == "test" else order[n_test + n_valid :])
    files: list[Path] = []
    polygons: list[list[np.ndarray]] = []
    for video in [*chosen, *held]:
        found = [path for path in sorted_images(top / video) if path.name.startswith("frame_")]
        listed = _polygons(top / video / "polygons.mat")
        if len(found) != len(listed) or len(found) != frames_per_video:
            raise DataError(
                f"egohands is incomplete: {top / video} has {len(found)} frames and {len(listed)} rows of polygons; "
                f"expected {frames_per_video} of each."
            )
        files += found
        polygons += listed

    def read(index: int) -> np.ndarray:
        height, width = image_size("egohands", files[index])
        mask = np.zeros((height, width), dtype=np.uint8)
        for value, polygon in enumerate(polygons[index], start=1):
            if len(polygon):
                # MATLAB counts pixels from 1: its point (1, 1) is the centre of our pixel (0, 0).
                mask[fill_polygon(polygon - 1, height, width)] = value
        return mask

    def digest_rows(rows: np.ndarray) -> np.ndarray:
        return stacked([of_array(np.concatenate([_ended(p) for p in polygons[int(row)]])) for row in rows])

    frames = np.arange(len(files), dtype=np.int64)[:, None]
    images = FileImages("egohands", top, files)
    groups = [path.parent.name for path in files]
    whole = Examples(images, frames, LazyTargets(len(files), read, digest_rows), relative(files, top), groups=groups)
    if not held:
        return whole
    n_train_frames = len(files) - frames_per_video * len(held)
    train, validation = (
        whole.subset(np.arange(len(files))[part]) for part in (slice(n_train_frames), slice(n_train_frames, None))
    )
    return replace(train, validation=validation)


def _ended(polygon: np.ndarray) -> np.ndarray:
    """Return a polygon and a point that is none, so that one after the other they can be told apart."""
    return np.concatenate([polygon, np.full((1, 2), np.nan)])


def fill_polygon(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return bool (height, width): pixels whose centre (whole x and y) lies inside ``points``, (P, 2) of x and y.

    Even-odd rule, exact, half-open: a centre on a left or upper edge is inside, on a right or lower edge it is not.
    """
    inside = np.zeros((height, width), dtype=bool)
    x0, y0 = points[:, 0], points[:, 1]
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    first, last = max(0, int(np.ceil(y0.min()))), min(height - 1, int(np.floor(y0.max())))
    for row in range(first, last + 1):
        crosses = (y0 <= row) != (y1 <= row)
        at = np.sort(x0[crosses] + (row - y0[crosses]) * (x1[crosses] - x0[crosses]) / (y1[crosses] - y0[crosses]))
        for left, right in zip(at[::2], at[1::2], strict=True):
            inside[row, max(0, int(np.ceil(left))) : max(0, int(np.ceil(right)))] = True
    return inside


def _polygons(path: Path) -> list[list[np.ndarray]]:
    """Return for each frame the four hands' polygons, float (P, 2), with P = 0 for a hand that is not seen."""
    from scipy.io import loadmat

    try:
        table: Any = loadmat(path)["polygons"].ravel()
        return [[_points(row[hand]) for hand in HANDS] for row in table]
    except Exception as error:  # scipy raises many kinds of errors on damaged files
        raise DataError(
            f"egohands: {path} is not a table 'polygons' with {', '.join(HANDS)}, each of x and y ({error})."
        ) from error


def _points(value: np.ndarray) -> np.ndarray:
    points = np.asarray(value, dtype=np.float64)
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim == 1 and points.size == 2:
        points = points[None]  # a single point, which MATLAB may store flat
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"a polygon of shape {points.shape}")
    return points if len(points) > 2 else np.zeros((0, 2))
