"""NAVI (Jampani et al. 2023): two photographs of one object, and where the points of one lie in the other.

The layout is that of the release's README, the camera that of its data_util.py (github.com/google/navi), the object's
square that of Probe3D's evaluation (El Banani et al. 2024).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from virb.tasks.readers.common import (
    LazyTargets,
    check_split,
    hash_order,
    read_json,
    read_lines,
    read_pixels,
    require,
    require_files,
)

from virb.contracts.examples import Examples
from virb.contracts.images import UNREADABLE, Digested, stacked
from virb.errors import DataError
from virb.images.digests import of_files
from virb.images.sets import FileImages

NAME = "navi"
LISTS = {"train": ("multiview", 16), "test": ("wild_set", 4)}  # of which every how manieth image asks
WIDEST = 120.0  # degrees between two views
SIDE, GRID = 512, 256  # pixels of the square, and points across it
DISPARITY = 655350.0  # millimetres are this over the value; 0 is infinitely far
CLOSE = 0.005  # a point is seen where the second depth is within this share of its own

Square = tuple[int, int, int]  # left, top, side


def pairs(root: Path, split: str) -> Examples:
    """Read ``<root>/custom_splits/pairwise_pixel_correspondences/pairs-{multiview,wild_set}.txt`` and what it names.

    Its lines are IMAGE IMAGE DEGREES, the images ``OBJECT/SCENE/images/NNN.jpg``, beside which ``depth/NNN.png`` (16 bits of
    disparity) and ``annotations.json`` are read. Train are pairs of multiview scenes, test of wild sets (other places
    and light). Every sixteenth or fourth image asks once; its partner is, of those up to 120 degrees away, the first
    in the order of their hash. Each image is the object's square at 512 pixels. Targets are (512, 512, 2), float32: at every
    second pixel whose point the second image shows too, the motion to there (right, down) in pixels; NaN elsewhere. Ids
    are the lines, groups the objects.
    """
    check_split(NAME, split)
    part, every = LISTS[split]
    listing = root / "custom_splits" / "pairwise_pixel_correspondences" / f"pairs-{part}.txt"
    require(
        NAME, listing, expected=f"custom_splits/pairwise_pixel_correspondences/pairs-{part}.txt and <object>/<scene>/"
    )
    chosen = _chosen(listing, every)
    names = sorted({name for first, second, _ in chosen for name in (first, second)})
    photos = [root / name for name in names]
    depths = [photo.parent.parent / "depth" / f"{photo.stem}.png" for photo in photos]
    scenes = sorted({photo.parent.parent for photo in photos})
    require_files(NAME, [*photos, *depths, *(scene / "annotations.json" for scene in scenes)], listing)
    images = Objects(FileImages(NAME, root, photos), depths, _cameras(scenes, photos))
    row = {name: k for k, name in enumerate(names)}
    frames = np.array([[row[first], row[second]] for first, second, _ in chosen], dtype=np.int64)

    def read(index: int) -> np.ndarray:
        return motion(*(images.view(int(k)) for k in frames[index]))

    def digests(rows: np.ndarray) -> np.ndarray:
        of = [of_files(root, [depths[k] for k in frames[rows, side]]) for side in (0, 1)]
        cameras = [np.concatenate([images.cameras[int(k)] for k in frames[int(index)]]) for index in rows]
        parts = zip(*of, cameras, strict=True)
        return stacked([hashlib.sha256(b"".join(one.tobytes() for one in part)).digest() for part in parts])

    return Examples(
        images,
        frames,
        LazyTargets(len(chosen), read, digests),
        [f"{first} {second} {degrees}" for first, second, degrees in chosen],
        groups=[first.split("/")[0] for first, _, _ in chosen],
    )


class Objects(Digested):
    """Each photograph cut to the square around its object, at 512 pixels; what lies beyond the photograph is black.

    Args:
        depths: the file of each photograph's depth, which says where its object is.
        cameras: float64 (N, 8): the quaternion (w first) and translation (mm) from object to camera, and the focal length
            in pixels.
    """

    def __init__(self, photos: FileImages, depths: Sequence[Path], cameras: np.ndarray) -> None:
        self.photos, self.depths, self.cameras = photos, depths, cameras
        self.name = photos.name
        self._squares: dict[int, Square] = {}

    def __len__(self) -> int:
        return len(self.photos)

    def image(self, index: int) -> np.ndarray:
        left, top, side = self.square(index)
        whole = Image.fromarray(self.photos.image(index))
        cut = whole.crop((left, top, left + side, top + side))
        return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    def size(self, index: int) -> tuple[int, int]:
        return SIDE, SIDE

    def square(self, index: int) -> Square:
        """Return the smallest square, in pixels of the photograph, that has the object in its middle."""
        if index not in self._squares:
            self._squares[index] = square_of(self.depth(index), self.depths[index])
        return self._squares[index]

    def depth(self, index: int) -> np.ndarray:
        """Return the object's depth (H, W), float32 millimetres along the optical axis; 0 beside it."""
        path = self.depths[index]
        value = read_pixels(NAME, path)
        if value.ndim != 2 or value.shape != self.photos.size(index):
            raise DataError(
                f"{NAME}: {path} has the shape {value.shape}, its photograph {self.photos.size(index)} (height, width, turned as "
                "EXIF says); expected one size."
            )
        found = np.zeros(value.shape, np.float32)
        np.divide(np.float32(DISPARITY), value, out=found, where=value > 0, casting="unsafe")
        return found

    def view(self, index: int) -> tuple[np.ndarray, np.ndarray, Square]:
        """Return what :func:`motion` takes."""
        depth = self.depth(index)
        self._squares.setdefault(index, square_of(depth, self.depths[index]))
        return depth, self.cameras[index], self._squares[index]

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        depths = of_files(self.photos.root, [self.depths[int(k)] for k in rows])
        return stacked(
            [
                hashlib.sha256(photo.tobytes() + depth.tobytes() + b"square of the object, 512").digest()
                if photo.any() and depth.any()
                else UNREADABLE
                for photo, depth in zip(self.photos.digest_rows(rows), depths, strict=True)
            ]
        )

    def describe(self, index: int) -> str:
        return self.photos.describe(index)


View = tuple[np.ndarray, np.ndarray, Square]


def motion(first: View, second: View) -> np.ndarray:
    """Return where the points of the first square lie in the second: float32 (512, 512, 2), NaN where that is not known.

    A view is its depth (H, W) in millimetres, its camera (8,) and its square. Cameras look along +z, x is right and y down,
    and the optical axis meets the photograph in its middle. A point counts as seen where the second depth at its pixel
    differs from its own by at most half a percent and one step of the disparity that the file keeps.
    """
    (depth, camera, (left, top, side)), (other, there, (x0, y0, other_side)) = first, second
    step = SIDE // GRID
    at = np.arange(GRID) * step
    y, x = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
    u, v = ((one + 0.5) * side / SIDE - 0.5 + start for one, start in ((x, left), (y, top)))
    z = _at(depth, u, v)
    seen = z > 0
    x, y, u, v, z = (one[seen] for one in (x, y, u, v, z))
    rays = np.stack(
        [(u + 0.5 - depth.shape[1] // 2) / camera[7], (v + 0.5 - depth.shape[0] // 2) / camera[7], np.ones_like(u)]
    )
    points = rotation(camera[:4]).T @ (rays * z - camera[4:7, None])  # of the object
    points = rotation(there[:4]) @ points + there[4:7, None]
    z = points[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (there[7] * points[k] / z + size // 2 - 0.5 for k, size in ((0, other.shape[1]), (1, other.shape[0])))
    seen = z > 0
    seen[seen] = np.abs(_at(other, u[seen], v[seen]) - z[seen]) <= CLOSE * z[seen] + z[seen] ** 2 / DISPARITY
    flow = np.full((SIDE, SIDE, 2), np.nan, np.float32)
    scale = SIDE / other_side
    for axis, (goal, start, here) in enumerate(((u, x0, x), (v, y0, y))):
        flow[y[seen], x[seen], axis] = ((goal - start + 0.5) * scale - 0.5 - here)[seen]
    return flow


def rotation(q: np.ndarray) -> np.ndarray:
    """Return the matrix (3, 3) of a quaternion (w, x, y, z) of any length.

    >>> rotation(np.array([1.0, 0, 0, 1.0])).round(9).tolist()  # a quarter turn about z
    [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    w, x, y, z = q
    scaled = 2.0 / float(q @ q)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + scaled * (w * cross + cross @ cross)


def square_of(depth: np.ndarray, path: Path) -> Square:
    """Return the smallest square around a depth's object, with the object in its middle; errors name ``path``."""
    rows, columns = (np.flatnonzero((depth > 0).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise DataError(
            f"{NAME}: {path} is 0 everywhere; expected the disparity of an object. Extract the archive again."
        )
    side = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    left, top = ((int(one[0]) + int(one[-1]) + 1 - side) // 2 for one in (columns, rows))
    return left, top, side


def _at(depth: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the depth of the pixels nearest to places (n,); 0 beyond the photograph."""
    x, y = (np.round(one).astype(np.int64) for one in (u, v))
    inside = (x >= 0) & (x < depth.shape[1]) & (y >= 0) & (y < depth.shape[0])
    found = np.zeros(len(x))
    found[inside] = depth[y[inside], x[inside]]
    return found


def _chosen(listing: Path, every: int) -> list[tuple[str, str, str]]:
    """Return first image, second image and degrees of each pair that is used, by the first image's name."""
    partners: dict[str, dict[str, str]] = {}
    for line in read_lines(NAME, listing):
        try:
            first, second, degrees = line.split()
            is_near = 0 <= float(degrees) <= WIDEST
        except ValueError as error:
            raise DataError(f"{NAME}: {listing} has the line {line!r}; expected IMAGE IMAGE DEGREES.") from error
        for one, other in ((first, second), (second, first)):
            if one.count("/") != 3 or one == other:
                raise DataError(
                    f"{NAME}: {listing} has the line {line!r}; expected two images, each OBJECT/SCENE/images/NNN.jpg."
                )
            of = partners.setdefault(one, {})
            if is_near:
                of[other] = degrees
    chosen = []
    for name in sorted(partners)[::every]:
        others = sorted(partners[name])
        if others:
            other = others[hash_order(f"{name} {one}" for one in others)[0]]
            chosen.append((name, other, partners[name][other]))
    if not chosen:
        raise DataError(f"{NAME}: {listing} has no pair of up to {WIDEST:.0f} degrees among every {every} images.")
    return chosen


def _cameras(scenes: Sequence[Path], photos: Sequence[Path]) -> np.ndarray:
    """Return float64 (N, 8): quaternion, translation and focal length of each photograph."""
    found: dict[Path, np.ndarray] = {}
    for scene in scenes:
        path = scene / "annotations.json"
        try:
            for entry in read_json(NAME, path):
                found[scene / "images" / entry["filename"]] = _camera(entry["camera"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{NAME}: {path} is not as published ({type(error).__name__}: {error}); expected a list of filename and camera "
                "(q of four numbers, t of three, focal_length)."
            ) from error
    missing = [photo for photo in photos if photo not in found]
    if missing:
        raise DataError(f"{NAME}: {missing[0].parent.parent / 'annotations.json'} says nothing of {missing[0].name}.")
    return np.stack([found[photo] for photo in photos])


def _camera(camera: Any) -> np.ndarray:
    numbers = np.array([*camera["q"], *camera["t"], camera["focal_length"]], dtype=np.float64)
    if len(camera["q"]) != 4 or len(numbers) != 8 or not np.isfinite(numbers).all():
        raise ValueError(f"numbers {numbers.tolist()}")
    if not (numbers[:4].any() and numbers[7] > 0):
        raise ValueError(f"rotation {numbers[:4].tolist()}, focal length {numbers[7]}")
    return numbers
