"""NYU Depth V2, the labelled part: one MATLAB 7.3 file, which is HDF5, or folders of png and tiff already split.

Where the data set's folder has train/images/ (the archive of Kotar et al. 2021), its train/ and test/ are the splits;
otherwise the .mat file is read and whole scenes are split by the hash of their name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.readers.common import (
    IGNORE,
    LazyTargets,
    check_same_size,
    check_split,
    dense_files,
    hash_order,
    label_out_of_range,
    read_pixels,
    require,
    require_files,
    sorted_images,
)

from virb.contracts.examples import Examples
from virb.contracts.images import Digested, of_array
from virb.errors import DataError
from virb.images.digests import of_parts

FILE = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"
WALKABLE = ("floor", "floor mat", "rug", "carpet", "mat", "door mat", "bath mat")


def depth(root: Path, split: str, *, is_standard: bool = False) -> Examples:
    """Return images with depth (H, W) in metres, float32, 0 being no reading (Silberman et al. 2012).

    ``is_standard`` takes the published split, 795 to train and 654 to test, of ``splits.mat`` beside the set. The depth is the inpainted ``depths`` of the .mat file, or ``<split>/depth/*.tiff``, one float a pixel.
    """
    if _is_split_by_folder(root) and not is_standard:
        return _from_folders(root, split, "depth", ".tiff", _depth_m)
    images, rows, scenes = open_labelled(root, split, is_standard=is_standard)

    def read(index: int) -> np.ndarray:
        return _depth_m(images.slice("depths", int(rows[index])).T, f"frame {rows[index]} of {images.path}")

    return _examples(images, rows, read, "depths", scenes)


def walkable(root: Path, split: str) -> Examples:
    """Return images with masks (H, W): 1 where one can walk (``WALKABLE``), 0 elsewhere, 255 without a label.

    From folders it is ``<split>/walkable/*.png``, where any value but 0 is walkable.
    """
    if _is_split_by_folder(root):
        return _from_folders(root, split, "walkable", ".png", lambda mask, _: (mask != 0).astype(np.uint8))
    images, rows, scenes = open_labelled(root, split)
    names = images.strings("names")
    table = np.array([IGNORE, *(int(name in WALKABLE) for name in names)], dtype=np.uint8)  # label 0: unlabelled
    if "floor" not in names:
        raise DataError(
            f"nyu: {images.path} has no class 'floor' among its {len(names)} names; is it the labelled set?"
        )

    def read(index: int) -> np.ndarray:
        labels = images.slice("labels", int(rows[index])).T
        if labels.max() > len(names):
            what = f"frame {rows[index]} of {images.path}"
            raise label_out_of_range("nyu", what, int(labels.max()), f"0 to {len(names)}")
        return table[labels]

    return _examples(images, rows, read, "labels", scenes)


def _depth_m(found: np.ndarray, what: str) -> np.ndarray:
    if not np.issubdtype(found.dtype, np.floating) or not (np.isnan(found) | (found >= 0)).all():
        raise DataError(
            f"nyu: {what} holds {found.dtype} from {found.min()} to {found.max()}; expected metres as floats."
        )
    return np.where(found > 0, found, np.nan).astype(np.float32)


def _is_split_by_folder(root: Path) -> bool:
    return (root / "train" / "images").is_dir()


def _from_folders(
    root: Path, split: str, kind: str, suffix: str, decode: Callable[[np.ndarray, str], np.ndarray]
) -> Examples:
    check_split("nyu", split)
    folder = root / split
    require("nyu", folder / "images", folder / kind, expected=f"{{train,test}}/images/*.png and {kind}/*{suffix}")
    files = sorted_images(folder / "images")
    targets = [folder / kind / f"{path.stem}{suffix}" for path in files]
    require_files("nyu", targets, folder / "images")

    def read(index: int) -> np.ndarray:
        found = decode(read_pixels("nyu", targets[index]), str(targets[index]))
        if found.ndim != 2:
            raise DataError(f"nyu: {targets[index]} has the shape {found.shape}; expected one value a pixel.")
        check_same_size("nyu", found, targets[index], files[index])
        return found

    return dense_files("nyu", folder, files, read, targets=targets)


@dataclass(frozen=True)
class MatImages(Digested):
    """The frames of the .mat file. It is opened for each read: handles do not survive a fork or a pickle."""

    name: str
    path: Path
    n: int

    def __len__(self) -> int:
        return self.n

    def image(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.slice("images", index).transpose(2, 1, 0))  # stored (3, W, H)

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        return self.digests_of("images", rows)

    def digests_of(self, key: str, rows: np.ndarray) -> np.ndarray:
        """Return the digests of the rows of the array ``key`` as stored, uint8 (n, 32)."""
        return of_parts(self.path, [f"{key} {row}" for row in rows], lambda k: of_array(self.slice(key, int(rows[k]))))

    def describe(self, index: int) -> str:
        return f"frame {index} of {self.path}"

    def slice(self, key: str, index: int) -> np.ndarray:
        """Return row ``index`` of the array ``key``, as stored: MATLAB's axes in reverse order."""
        try:
            with _h5py().File(self.path) as file:
                return file[key][index]
        except (OSError, KeyError) as error:
            raise DataError(f"nyu: {key!r} of frame {index} in {self.path} cannot be read ({error}).") from error

    def strings(self, key: str) -> list[str]:
        """Return a cell array of strings, which is stored as references to arrays of character codes."""
        try:
            with _h5py().File(self.path) as file:
                return ["".join(map(chr, np.ravel(file[ref][()]))) for ref in np.ravel(file[key][()])]
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"nyu: the strings {key!r} in {self.path} cannot be read ({error}).") from error


def open_labelled(root: Path, split: str, *, is_standard: bool = False) -> tuple[MatImages, np.ndarray, list[str]]:
    """Return all frames of the .mat file, the rows (N,) of a split, and the scene of each of these."""
    check_split("nyu", split)
    path = root / FILE
    require("nyu", path, expected=f"the file {FILE}")
    try:
        with _h5py().File(path) as file:
            shapes = {key: file[key].shape for key in ("images", "depths", "labels")}
    except (OSError, KeyError) as error:
        raise DataError(f"nyu: {path} cannot be read as the labelled set ({error}). Fetch it again.") from error
    n, _, width, height = shapes["images"]
    if shapes["depths"] != (n, width, height) or shapes["labels"] != (n, width, height):
        raise DataError(f"nyu: the arrays of {path} do not agree in shape: {shapes}.")
    images = MatImages("nyu", path, n)
    scenes = images.strings("scenes")
    is_train = _standard(root, n) if is_standard else split_scenes(scenes, n * 4 // 5)
    rows = np.flatnonzero(is_train if split == "train" else ~is_train)
    return images, rows, [scenes[row] for row in rows]


def _standard(root: Path, n: int) -> np.ndarray:
    """Return bool (n,): the frames that ``splits.mat`` trains on (trainNdxs; the others are its testNdxs), counted from 1."""
    from scipy.io import loadmat

    path = root / SPLITS
    require("nyu", path, expected=f"{SPLITS}, the published split of 795 and 654 frames, beside {FILE}")
    try:
        found = loadmat(path)
        train, test = (found[key].ravel().astype(int) - 1 for key in ("trainNdxs", "testNdxs"))
    except Exception as error:  # scipy raises many kinds of errors on damaged files
        raise DataError(f"nyu: {path} is not the published split, with trainNdxs and testNdxs ({error}).") from error
    if sorted([*train, *test]) != list(range(n)):
        raise DataError(f"nyu: {path} lists {len(train)} and {len(test)} frames; expected each of the {n} once.")
    is_train = np.zeros(n, dtype=bool)
    is_train[train] = True
    return is_train


def split_scenes(scenes: list[str], n_train: int) -> np.ndarray:
    """Return bool (N,): ``n_train`` frames at most, whole scenes, taken in the order of their hash while they fit.

    With the set's 464 scenes, many of a single frame, that is 1,159 of 1,449, the paper's number.
    """
    rows = defaultdict(list)
    for row, scene in enumerate(scenes):
        rows[scene].append(row)
    names = sorted(rows)
    is_train = np.zeros(len(scenes), dtype=bool)
    for k in hash_order(names):
        if is_train.sum() + len(rows[names[k]]) <= n_train:
            is_train[rows[names[k]]] = True
    return is_train


def _examples(images: MatImages, rows: np.ndarray, read: Any, key: str, scenes: list[str]) -> Examples:
    ids = [f"frame {row}" for row in rows]
    targets = LazyTargets(len(rows), read, lambda chosen: images.digests_of(key, rows[chosen]))
    return Examples(images, rows[:, None].astype(np.int64), targets, ids, groups=scenes)


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DataError("nyu: reading the .mat file needs h5py: pip install virb[nyu], or h5py.") from error
    return h5py
