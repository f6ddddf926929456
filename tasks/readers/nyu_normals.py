"""Surface normals of NYU Depth V2's labelled frames (Ladicky et al. 2014), as FAIR's self-supervision benchmark published them.

``surfacenormal_metadata/all_normals.pklz`` is a gzipped pickle of some gigabytes, of which no single frame can be read:
:func:`prepare` makes an array of it, once, without running any of its code.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.readers import nyu
from virb.tasks.readers.common import LazyTargets, require

from virb.contracts.examples import Examples
from virb.contracts.images import of_array
from virb.errors import DataError
from virb.images.digests import of_parts
from virb.system.files import atomic_write
from virb.system.pickles import ForbiddenError, load_arrays

PUBLISHED = Path("surfacenormal_metadata", "all_normals.pklz")
ARRAY = "virb-normals.npy"


def normals(root: Path, split: str) -> Examples:
    """Return images with the directions (H, W, 3) of their surfaces, float32 of length 1, NaN where there is none.

    The split is the published one of 795 and 654 frames (``splits.mat``).
    """
    images, rows, scenes = nyu.open_labelled(root, split, is_standard=True)
    path = root / ARRAY
    require("nyu", path, expected=f"{ARRAY}, which virb data prepare nyu-normals makes of {PUBLISHED.as_posix()}")
    try:
        stored = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"nyu: {path} is not readable ({error}). Remove it, and make it again.") from error
    if stored.shape[:1] != (len(images),) or stored.ndim != 4 or stored.shape[3] != 3:
        raise DataError(f"nyu: {path} has the shape {stored.shape}; expected ({len(images)}, H, W, 3). Make it again.")

    def read(index: int) -> np.ndarray:
        return np.array(stored[rows[index]], dtype=np.float32)

    def digests(chosen: np.ndarray) -> np.ndarray:
        return of_parts(path, [f"row {rows[k]}" for k in chosen], lambda k: of_array(read(int(chosen[k]))))

    ids = [f"frame {row}" for row in rows]
    return Examples(images, rows[:, None].astype(np.int64), LazyTargets(len(rows), read, digests), ids, groups=scenes)


def prepare(root: Path) -> None:
    """Write ``<root>/virb-normals.npy``, (n, H, W, 3) in the order of the .mat file's frames, of the published pickle.

    The whole pickle is in memory meanwhile.

    Raises:
        DataAbsent: it is not there.
        DataError: it would run code, is damaged, or is not what was published.
    """
    path = root / PUBLISHED
    require(
        "nyu", path, expected=f"{PUBLISHED.as_posix()} of nyuv2_surfacenormal_metadata.zip, in the folder of the set"
    )
    try:
        with gzip.open(path, "rb") as file:
            found = load_arrays(file)
    except ForbiddenError as error:
        raise DataError(
            f"nyu: {path} names {error}, which is code: nothing was run, and it is not what was published."
        ) from error
    except Exception as error:  # pickle and gzip raise many kinds of errors on damaged files
        raise DataError(f"nyu: {path} cannot be read ({error}). Fetch it again.") from error
    vectors, masks, order = _published(found, path)
    with atomic_write(root / ARRAY) as out:
        np.lib.format.write_array_header_1_0(
            out, {"descr": "<f4", "fortran_order": False, "shape": (len(order), *vectors[0].shape)}
        )
        for row in order:
            vector = np.asarray(vectors[row], dtype=np.float32)
            length = np.linalg.norm(vector, axis=2, keepdims=True)
            is_there = (np.asarray(masks[row]) != 0)[..., None] & (length > 0)
            with np.errstate(invalid="ignore", divide="ignore"):
                out.write(np.where(is_there, vector / length, np.float32(np.nan)).astype("<f4").tobytes())


def _published(found: Any, path: Path) -> tuple[Any, Any, list[int]]:
    """Return the vectors, the masks, and at which of their rows the frames 1, 2, ... stand."""
    try:
        vectors, masks = found["all_normals"], found["all_valid_depth_masks"]
        numbers = [int(Path(str(name)).stem) for name in found["all_filenames"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"nyu: {path} is not as published ({error!r}); expected all_normals, all_valid_depth_masks and all_filenames."
        ) from error
    n = len(numbers)
    if sorted(numbers) != list(range(1, n + 1)) or len(vectors) != n or len(masks) != n:
        raise DataError(
            f"nyu: {path} has {len(vectors)} normals, {len(masks)} masks and names of {n} frames; expected one each of the "
            "frames 1, 2, ..."
        )
    if any(np.shape(v) != (*np.shape(m), 3) for v, m in zip(vectors, masks, strict=True)):
        raise DataError(f"nyu: normals and masks of {path} differ in size; expected (H, W, 3) and (H, W).")
    return vectors, masks, [int(k) for k in np.argsort(numbers)]
