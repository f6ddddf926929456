"""Image sets decoded, and reduced to a short side that no crop notices, once, into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from virb.errors import DataError
from virb.images.decode import VERSION
from virb.images.sets import ImageSet
from virb.pretraining.kept import Kept, Unreadable, kept
from virb.system.threads import n_cores

ProgressCallback = Callable[[str, int, int], None]
LONGEST = 8


def reduced(image: np.ndarray, short_side: int | None) -> np.ndarray:
    """Return ``image`` (H, W, 3), made smaller (antialiased) where its short side is above ``short_side``.

    A long side above eight times that is too: a batch has room for its longest image.
    """
    from PIL import Image

    if short_side is None:
        return image
    height, width = image.shape[:2]
    scale = min(1.0, max(short_side / min(height, width), 0.0), LONGEST * short_side / max(height, width))
    if scale == 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def readable(images: ImageSet, bad: Sequence[Unreadable], skip: bool) -> np.ndarray:
    """Return the positions that are not ``bad``.

    Raises:
        DataError: some are and ``skip`` is false, or all are.
    """
    if bad and not skip:
        shown = "; ".join(reason for _, reason in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(
            f"{len(bad)} of {len(images)} images of {images.name} cannot be read: {shown}{more}. Replace or remove them, "
            "or pass --skip-unreadable to train without them."
        )
    keep = np.setdiff1d(np.arange(len(images)), [i for i, _ in bad])
    if not len(keep):
        raise DataError(f"None of the {len(images)} images of {images.name} can be read.")
    return keep


def unreadable(images: ImageSet, progress: ProgressCallback | None = None) -> list[Unreadable]:
    """Return which images cannot be read, by reading all of them."""
    bad = []
    for i, found in enumerate(_read_all(images, 8)):
        if isinstance(found, str):
            bad.append((i, found))
        if progress:
            progress(f"checking {images.name}", i + 1, len(images))
    return bad


def decoded(images: ImageSet, short_side: int | None, progress: ProgressCallback | None = None) -> Kept:
    """Return all images, reduced to ``short_side``, kept in the cache."""
    key = hashlib.sha256(f"{images.digest}\0{short_side}\0{VERSION}".encode()).hexdigest()[:24]

    def found() -> Iterator[np.ndarray | str]:
        for i, image in enumerate(_read_all(images, short_side)):
            yield image
            if progress:
                progress(f"decoding {images.name}", i + 1, len(images))

    what = images.name if short_side is None else f"{images.name} at {short_side} px"
    return kept(key, what, len(images), found)


def some(images: ImageSet, positions: np.ndarray, short_side: int | None) -> list[np.ndarray | str]:
    """Return the images at ``positions``, reduced, or why one cannot be read."""
    with ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(lambda i: _try(images, int(i), short_side), positions))


def _try(images: ImageSet, i: int, short_side: int | None) -> np.ndarray | str:
    try:
        return reduced(images.image(i), short_side)
    except DataError as error:
        return str(error.__cause__ or error)


def _read_all(images: ImageSet, short_side: int | None, chunk: int = 512) -> Iterator[np.ndarray | str]:
    """Every image in order, or why it cannot be read; threads decode, no more than a chunk ahead."""
    with ThreadPoolExecutor(n_cores()) as pool:
        for start in range(0, len(images), chunk):
            yield from pool.map(lambda i: _try(images, i, short_side), range(start, min(start + chunk, len(images))))
