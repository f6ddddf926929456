"""SPair-71k (Min et al. 2019): pairs of images of one kind of thing, and the points of one that the other shows too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from virb.tasks.readers.common import LazyTargets, check_split, read_json, read_lines, require, require_files

from virb.contracts.examples import Examples
from virb.errors import DataError
from virb.images.digests import of_files
from virb.images.sets import FileImages
from virb.images.squares import PaddedSquares, margins

PARTS = {"train": "trn", "test": "test"}
NAME = "spair-71k"


def pairs(root: Path, split: str, *, layout: str = "large") -> Examples:
    """Read ``<root>/Layout/<layout>/{trn,test}.txt``, ``PairAnnotation/{trn,test}/<line>.json`` and ``JPEGImages/<kind>/``.

    Each image stands in the middle of a black square, so that nothing is squashed. Targets are (S, S, 3), float32, over the
    first image's square: at each point of it that the second shows too, the motion to there (right, down) and, third, the
    longer side of the second object's box, all in pixels of the first square, to which the second is brought; NaN elsewhere.
    Ids are the lines, which end in the kind of thing.
    """
    check_split(NAME, split)
    part = PARTS[split]
    listing = root / "Layout" / layout / f"{part}.txt"
    expected = f"JPEGImages/<kind>/, PairAnnotation/{part}/ and Layout/{layout}/{part}.txt"
    require(NAME, listing, root / "PairAnnotation" / part, root / "JPEGImages", expected=expected)
    names = read_lines(NAME, listing)
    files: dict[Path, int] = {}
    frames = []
    for name in names:
        pair, _, kind = name.rpartition(":")
        stems = pair.split("-")
        if len(stems) != 3 or not kind:
            raise DataError(f"{NAME}: {listing} has the line {name!r}; expected NUMBER-FIRST-SECOND:KIND.")
        paths = [root / "JPEGImages" / kind / f"{stem}.jpg" for stem in stems[1:]]
        frames.append([files.setdefault(path, len(files)) for path in paths])
    annotations = [root / "PairAnnotation" / part / f"{name}.json" for name in names]
    require_files(NAME, [*files, *annotations], listing)

    def read(index: int) -> np.ndarray:
        return _target(annotations[index])

    targets = LazyTargets(len(names), read, lambda rows: of_files(root, [annotations[int(row)] for row in rows]))
    images = PaddedSquares(FileImages(NAME, root, list(files)))
    return Examples(images, np.asarray(frames, dtype=np.int64), targets, names)


def _target(path: Path) -> np.ndarray:
    found = read_json(NAME, path)
    try:
        (width, height), (other_width, other_height) = (
            (int(x) for x in found[f"{k}_imsize"][:2]) for k in ("src", "trg")
        )
        first, second = (np.asarray(found[f"{k}_kps"], np.float64).reshape(-1, 2) for k in ("src", "trg"))
        left, top, right, bottom = (float(x) for x in found["trg_bndbox"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{NAME}: {path} is not as published ({type(error).__name__}: {error}); expected src_kps, trg_kps, src_imsize, "
            "trg_imsize and trg_bndbox."
        ) from error
    if len(first) != len(second):
        raise DataError(f"{NAME}: {path} has {len(first)} points in the first image and {len(second)} in the second.")
    side, other = max(width, height), max(other_width, other_height)
    scale = side / other
    first = first + margins(height, width)
    second = (second + margins(other_height, other_width) + 0.5) * scale - 0.5  # where a pixel's middle comes to lie
    target = np.full((side, side, 3), np.nan, np.float32)
    for point, there in zip(first, second, strict=True):
        x, y = _free(target, point)
        target[y, x] = (there[0] - x, there[1] - y, max(right - left, bottom - top) * scale)
    return target


def _free(target: np.ndarray, point: Sequence[Any] | np.ndarray) -> tuple[int, int]:
    """Return the pixel of a point, or the next in its row where two share one."""
    side = len(target)
    x, y = (int(value) for value in np.clip(np.round(point), 0, side - 1))
    taken = ~np.isnan(target[y, :, 0])
    nearest = np.argsort(np.abs(np.arange(side) - x), kind="stable")
    return int(nearest[~taken[nearest]][0]), y
