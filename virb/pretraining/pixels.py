"""Where the pixels of a pretraining set come from: arrays, the cache, files that are decoded as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from virb.images.sets import ImageSet
from virb.pretraining import decoding
from virb.pretraining.kept import Kept


@dataclass(frozen=True)
class Padded:
    """Images of several sizes: uint8 ``pixels`` (n, H, W, 3), each in the top left corner; ``sizes`` (n, 2) in pixels."""

    pixels: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: np.ndarray) -> Padded:
        return Padded(self.pixels[index], self.sizes[index])


def stacked(images: Sequence[np.ndarray]) -> np.ndarray | Padded:
    """Return images uint8 (H, W, 3) as one array, or padded where they differ in size."""
    shapes = {image.shape for image in images}
    if len(shapes) == 1:
        return np.stack(images)
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int64)
    pixels = np.zeros((len(images), *sizes.max(axis=0), 3), np.uint8)
    for row, image in zip(pixels, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    return Padded(pixels, sizes)


def unstacked(batch: np.ndarray | Padded) -> list[np.ndarray]:
    """Return the images of a batch, each uint8 (H, W, 3): the inverse of :func:`stacked`."""
    if isinstance(batch, Padded):
        return [image[:height, :width] for image, (height, width) in zip(batch.pixels, batch.sizes, strict=True)]
    return list(batch)


class Pixels(Protocol):
    """Where images come from: uint8 (n, H, W, 3) for positions (n,), padded where they differ in size."""

    def read(self, positions: np.ndarray) -> np.ndarray | Padded: ...


@dataclass(frozen=True)
class ArrayPixels:
    """Images in one array (N, H, W, 3), in memory or memory-mapped."""

    array: np.ndarray

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self.array[positions]


@dataclass(frozen=True)
class KeptPixels:
    """Images in the cache."""

    kept: Kept

    def read(self, positions: np.ndarray) -> np.ndarray | Padded:
        if self.kept.is_uniform:
            return self.kept.flat.reshape(len(self.kept), *self.kept.sizes[0], 3)[positions]
        return stacked([self.kept.image(int(i)) for i in positions])


@dataclass(frozen=True)
class SelectedPixels:
    """Some images of another source, at ``selection`` (N,)."""

    pixels: Pixels
    selection: np.ndarray

    def read(self, positions: np.ndarray) -> np.ndarray | Padded:
        return self.pixels.read(self.selection[positions])


@dataclass(frozen=True)
class JoinedPixels:
    """Several sources, one after the other."""

    parts: tuple[Pixels, ...]
    starts: np.ndarray  # (parts + 1,), the first position of each part, then the total

    def read(self, positions: np.ndarray) -> np.ndarray | Padded:
        part = np.searchsorted(self.starts, positions, side="right") - 1
        out: list[np.ndarray] = [np.empty(0)] * len(positions)
        for k, pixels in enumerate(self.parts):
            chosen = np.flatnonzero(part == k)
            if len(chosen):
                for place, image in zip(
                    chosen, unstacked(pixels.read(positions[chosen] - self.starts[k])), strict=True
                ):
                    out[place] = image
        return stacked(out)


@dataclass(frozen=True)
class DecodedPixels:
    """Images decoded when they are read, reduced to ``short_side`` (None: as they are)."""

    images: ImageSet
    short_side: int | None
    threads: int = 4

    def read(self, positions: np.ndarray) -> np.ndarray | Padded:
        def one(i: int) -> np.ndarray:
            return decoding.reduced(self.images.image(i), self.short_side)

        if len(positions) == 1:
            return stacked([one(int(positions[0]))])
        with ThreadPoolExecutor(self.threads) as pool:
            return stacked(list(pool.map(one, positions.tolist())))
