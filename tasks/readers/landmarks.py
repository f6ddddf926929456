"""Revisited Oxford and Paris (Radenovic et al. 2018): queries, the images that are searched, and what is to be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from virb.tasks.readers.common import check_split, read_mat, require, require_files

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.boxes import Boxes
from virb.images.sets import FileImages

EASY, HARD, JUNK = 1, 2, -1
N_QUERIES = 70


def revisited(root: Path, split: str) -> Examples:
    """Read ``<root>/jpg/*.jpg`` by ``<root>/gnd_<root's name>.mat``, whose rows are counted from 1 and boxes from 0.

    Train are the images that are searched, numbered as the file lists them. Test are the queries, each cut to its box; their
    targets are int8 (Q, M): 1 easy, 2 hard, -1 junk, 0 all others. The published gnd_*.pkl holds the same; it is a
    pickle, which runs what is in it, and is not read.
    """
    check_split(root.name, split)
    found = [root / f"gnd_{name}.mat" for name in (root.name, "roxford5k", "rparis6k")]
    path = next((one for one in found if one.is_file()), found[0])
    hint = " (the .pkl beside it is not read: a pickle can run anything)" if path.with_suffix(".pkl").is_file() else ""
    require(root.name, path, root / "jpg", expected=f"jpg/ and gnd_{root.name}.mat{hint}")
    searched, asked, truth = _annotations(root.name, path)
    stems = searched if split == "train" else asked
    files = [root / "jpg" / (stem if stem.endswith(".jpg") else f"{stem}.jpg") for stem in stems]
    require_files(root.name, files, path)
    images = FileImages(root.name, root, files)
    frames = np.arange(len(files), dtype=np.int64)[:, None]
    if split == "train":
        return Examples(images, frames, np.arange(len(files)), stems)
    relevance = np.zeros((len(asked), len(searched)), np.int8)
    boxes = np.zeros((len(asked), 4))
    for k, query in enumerate(truth):
        boxes[k] = _numbers(query, "bbx", 4, path, asked[k])
        for name, grade in (("junk", JUNK), ("easy", EASY), ("hard", HARD)):
            rows = _numbers(query, name, None, path, asked[k]).astype(np.int64) - 1
            if len(rows) and (rows.min() < 0 or rows.max() >= len(searched)):
                raise DataError(
                    f"{root.name}: {path} says {name} of {asked[k]}: {rows.min() + 1} to {rows.max() + 1}; expected rows of "
                    f"imlist, 1 to {len(searched)}."
                )
            relevance[k, rows] = grade
    return Examples(Boxes(images, boxes), frames, relevance, asked)


def _annotations(name: str, path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return what is searched, the queries, and a struct for each query."""
    searched, asked = (
        [str(stem) for stem in np.atleast_1d(read_mat(name, path, key))] for key in ("imlist", "qimlist")
    )
    truth = np.atleast_1d(read_mat(name, path, "gnd"))
    if len(truth) != len(asked) or truth.dtype.names is None:
        raise DataError(f"{name}: {path} has {len(asked)} queries and {len(truth)} entries of gnd; expected one each.")
    return searched, asked, truth


def _numbers(query: np.void, key: str, n: int | None, path: Path, stem: str) -> np.ndarray:
    """Return a field of a query's struct as numbers (n,)."""
    try:
        found = np.atleast_1d(np.asarray(query[key], dtype=np.float64)).ravel()
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: gnd of {stem} has no numbers {key!r}; expected bbx, easy, hard and junk.") from error
    if n is not None and len(found) != n:
        raise DataError(f"{path}: {key} of {stem} has {len(found)} numbers; expected {n}.")
    return found
