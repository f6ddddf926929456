"""GeoLifeCLEF 2020, the half from the US: aerial images and which of sixteen land covers lie in them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, read_json, require, require_files

from virb.contracts.examples import DataContext, Examples
from virb.contracts.images import Digested
from virb.errors import DataError
from virb.images import digests
from virb.images.decode import shown
from virb.system.files import atomic_write

#: Land covers of the US (NLCD), in the order of their codes in a patch's fifth channel.
COVERS = (
    "open water", "perennial ice or snow", "developed, open space", "developed, low intensity",
    "developed, medium intensity", "developed, high intensity", "barren land", "deciduous forest", "evergreen forest",
    "mixed forest", "shrub", "grassland", "pasture or hay", "cultivated crops", "woody wetlands", "herbaceous wetlands",
)  # fmt: skip
FIRST_CODE = 18
CHANNEL = 4  # after red, green, blue and near infrared
EXPECTED = "patches_us_*/CD/AB/<id>.npy and annotations_{train,val}.json of lila.science"


def covers(root: Path, split: str) -> Examples:
    """Read ``<root>/patches_us_*/CD/AB/<id>.npy`` (Cole et al. 2020) by the lists that :func:`prepare` makes.

    Images are the first three channels; targets int8 (N, 16), 1 where any pixel is of that land cover (Cole et al. 2022,
    Appendix C.1). Test is the set's validation part.
    """
    check_split("glc20", split)
    table = _table(root, split)
    require("glc20", table, expected=f"what virb data prepare cole-glc20 makes of {EXPECTED}")
    try:
        with np.load(table, allow_pickle=False) as found:
            names, present = found["paths"], found["covers"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"glc20: {table} cannot be read ({error}). Remove it and prepare the set again.") from error
    if present.shape != (len(names), len(COVERS)):
        raise DataError(f"glc20: {table} has covers {present.shape}; expected {(len(names), len(COVERS))}.")
    files = [root / str(name) for name in names]
    require_files("glc20", files, table)
    frames = np.arange(len(files), dtype=np.int64)[:, None]
    return Examples(
        Patches("glc20", root, files), frames, present.astype(np.int8), [str(name) for name in names], COVERS
    )


def prepare(root: Path, context: DataContext) -> None:
    """Read every patch once, and write which land covers each has: 330 GB are not read again at every command.

    Raises:
        DataAbsent, DataError: the patches or the annotations are not there, or a patch is not what it should be.
    """
    lists = {split: root / f"annotations_{part}.json" for split, part in (("train", "train"), ("test", "val"))}
    require("glc20", root, *lists.values(), expected=EXPECTED)
    of = {path.stem: path for top in sorted(root.glob("patches_us*")) for path in _patches(top)}
    if not of:
        require("glc20", root / "patches_us_01", expected=EXPECTED)
    for split, listing in lists.items():
        try:
            keys = sorted(
                {Path(image["file_name"]).stem for image in read_json("glc20", listing)["images"]} & of.keys()
            )
        except (KeyError, TypeError) as error:
            raise DataError(f"glc20: {listing} is not a list of images with file_name ({error!r}).") from error
        if not keys:
            raise DataError(f"glc20: none of the images of {listing} lies below {root}/patches_us_*.")
        present = np.zeros((len(keys), len(COVERS)), dtype=np.uint8)
        for k, key in enumerate(keys):
            codes = _patch(of[key])[..., CHANNEL].astype(np.int64) - FIRST_CODE
            present[k, np.unique(codes[(codes >= 0) & (codes < len(COVERS))])] = 1
            if context.progress is not None:
                context.progress(f"glc20: {split}", k + 1, len(keys))
        paths = np.array([of[key].relative_to(root).as_posix() for key in keys])
        with atomic_write(_table(root, split)) as file:
            np.savez(file, paths=paths, covers=present)


class Patches(Digested):
    """The colours of patches in .npy files, known by the files' bytes."""

    def __init__(self, name: str, root: Path, files: list[Path]) -> None:
        self.name = name
        self.root = root
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> np.ndarray:
        return np.ascontiguousarray(_patch(self.files[index])[..., :3])

    def compute_digests(self, rows: np.ndarray) -> np.ndarray:
        return digests.of_files(self.root, [self.files[row] for row in rows.tolist()])

    def describe(self, index: int) -> str:
        return shown(self.files[index])


def _table(root: Path, split: str) -> Path:
    return root / f"virb-land-covers-{split}.npz"


def _patches(top: Path) -> list[Path]:
    return [
        Path(folder) / name
        for folder, _, names in os.walk(top)
        for name in sorted(names)
        if name.endswith(".npy") and not name.endswith("_alti.npy")
    ]


def _patch(path: Path) -> np.ndarray:
    """Return a patch, uint8 (H, W, at least 5)."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"glc20: {path} is not a readable .npy file ({error}). Fetch it again.") from error
    if found.ndim != 3 or found.shape[2] <= CHANNEL or found.dtype != np.uint8:
        raise DataError(f"glc20: {path} is {found.dtype} {found.shape}; expected uint8 (H, W, 5 or more).")
    return np.asarray(found)
