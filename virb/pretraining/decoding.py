"""Image sets decoded to squares of one size, once, into a memory-mapped array in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np

from virb.errors import DataError
from virb.images.decode import VERSION
from virb.images.sets import ImageSet
from virb.system import cache, leases
from virb.system.files import atomic_write
from virb.system.paths import cache_root
from virb.system.threads import n_cores

ProgressCallback = Callable[[str, int, int], None]
Unreadable = tuple[int, str]  # a position, and why


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize ``image`` (H, W, 3) so that its short side is ``size`` (antialiased), and cut the central square."""
    from PIL import Image

    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    opened = Image.fromarray(image)
    return np.asarray(opened.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + short, top + short)))


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


def decoded(
    images: ImageSet, size: int, progress: ProgressCallback | None = None
) -> tuple[np.ndarray, list[Unreadable]]:
    """Return all images as one memory-mapped array (N, size, size, 3), unreadable ones black, and which those are."""
    key = hashlib.sha256(f"{images.digest}\0{size}\0{VERSION}".encode()).hexdigest()[:24]

    def squares() -> Iterator[np.ndarray | str]:
        for i, found in enumerate(_read_all(images, size)):
            yield found
            if progress:
                progress(f"decoding {images.name}", i + 1, len(images))

    return kept(key, f"{images.name} at {size} px", (len(images), size, size, 3), squares)


def kept(
    key: str, what: str, shape: tuple[int, ...], squares: Callable[[], Iterable[np.ndarray | str]]
) -> tuple[np.ndarray, list[Unreadable]]:
    """Return the images that the cache keeps as ``key``, uint8 of ``shape``, memory-mapped; made if they are not there.

    ``squares()`` yields them in order, or why one cannot be read, for which the array is black. Processes that want the
    same wait for the one that makes them. The folder is held (:mod:`virb.system.leases`) for as long as the array is mapped.

    Returns:
        The array, and which images could not be read.
    """
    from filelock import FileLock

    folder = cache_root() / "pretraining" / key
    try:
        lease = leases.hold(folder, create=True)
    except OSError as error:
        raise DataError(
            f"The cache {folder.parent} cannot be written: {error.strerror or error}. Name another folder in VIRB_CACHE."
        ) from error
    state, pixels = folder / "state.json", folder / "images.npy"
    with FileLock(folder / "lock"):
        is_new = not state.exists()
        if is_new:
            bad: list[Unreadable] = []
            with atomic_write(pixels) as file:
                _write_header(file, shape)
                for i, found in enumerate(squares()):
                    if isinstance(found, str):
                        bad.append((i, found))
                        found = np.zeros(shape[1:], np.uint8)
                    file.write(found.tobytes())
            with atomic_write(state) as file:
                file.write(json.dumps({"images": what, "rows": shape[0], "unreadable": bad}).encode())
    if is_new:
        cache.trim(cache.limit_bytes())
    notes = json.loads(state.read_text(encoding="utf-8"))["unreadable"]
    array = leases.keep(np.load(pixels, mmap_mode="r"), lease)
    return array, [(int(i), str(reason)) for i, reason in notes]


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """Begin a .npy file of uint8."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _try(images: ImageSet, i: int, size: int) -> np.ndarray | str:
    try:
        return fit_square(images.image(i), size)
    except DataError as error:
        return str(error.__cause__ or error)


def _read_all(images: ImageSet, size: int, chunk: int = 512) -> Iterator[np.ndarray | str]:
    """Every image in order, or why it cannot be read; threads decode, no more than a chunk ahead."""
    with ThreadPoolExecutor(n_cores()) as pool:
        for start in range(0, len(images), chunk):
            yield from pool.map(lambda i: _try(images, i, size), range(start, min(start + chunk, len(images))))
