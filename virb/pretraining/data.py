"""Images to pretrain on: named sources and folders, as uint8 batches of one size, with labels where there are any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from virb.errors import DataError, UsageError
from virb.images.sets import ImageSet
from virb.pretraining import corruptions, decoding
from virb.pretraining.decoding import ProgressCallback
from virb.pretraining.subsets import Manifest, make_manifest, read_manifest


class Pixels(Protocol):
    """Where images come from: uint8 (n, H, W, 3) for positions (n,)."""

    def read(self, positions: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class ArrayPixels:
    """Images in one array (N, H, W, 3), in memory or memory-mapped."""

    array: np.ndarray

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self.array[positions]


@dataclass(frozen=True)
class SelectedPixels:
    """Some images of another source, at ``selection`` (N,)."""

    pixels: Pixels
    selection: np.ndarray

    def read(self, positions: np.ndarray) -> np.ndarray:
        return self.pixels.read(self.selection[positions])


@dataclass(frozen=True)
class JoinedPixels:
    """Several sources of one image size, one after the other."""

    parts: tuple[Pixels, ...]
    starts: np.ndarray  # (parts + 1,), the first position of each part, then the total

    def read(self, positions: np.ndarray) -> np.ndarray:
        part = np.searchsorted(self.starts, positions, side="right") - 1
        out: np.ndarray | None = None
        for k, pixels in enumerate(self.parts):
            chosen = np.flatnonzero(part == k)
            if len(chosen):
                found = pixels.read(positions[chosen] - self.starts[k])
                if out is None:
                    out = np.empty((len(positions), *found.shape[1:]), np.uint8)
                out[chosen] = found
        assert out is not None
        return out


@dataclass(frozen=True)
class DecodedPixels:
    """Images decoded when they are read, as squares of ``size``."""

    images: ImageSet
    size: int
    threads: int = 4

    def read(self, positions: np.ndarray) -> np.ndarray:
        with ThreadPoolExecutor(self.threads) as pool:
            squares = pool.map(lambda i: decoding.fit_square(self.images.image(int(i)), self.size), positions)
            return np.stack(list(squares))


@dataclass(frozen=True)
class PretrainingData:
    """An ordered set of N images. ``label`` is int (N,) or None; ``revision`` changes with any pixel or the order.

    ``selection`` (N,) are the positions in ``pixels`` that belong to the set, in order; ``paths`` name them where they
    are files.
    """

    name: str
    revision: str
    pixels: Pixels
    selection: np.ndarray
    size: int
    label: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what the user should know of how the set was read

    def __len__(self) -> int:
        return len(self.selection)

    def batch(self, index: np.ndarray) -> np.ndarray:
        """Return the images at ``index`` (n,) of the set, uint8 (n, H, W, 3)."""
        return self.pixels.read(self.selection[index])

    @property
    def balance(self) -> str:
        """ "balanced" if every class has as many images (give or take one), "unbalanced" if not, "unlabelled"."""
        if self.label is None:
            return "unlabelled"
        counts = np.bincount(self.label, minlength=len(self.classes))
        return "balanced" if counts.max() - counts.min() <= 1 else "unbalanced"

    def take(self, index: np.ndarray, rule: str) -> PretrainingData:
        """Return the images at ``index``, in that order; ``rule`` says in words which they are."""
        digest = hashlib.sha256(f"{self.revision}\0".encode() + np.asarray(index, "<i8").tobytes()).hexdigest()
        label = None if self.label is None else self.label[index]
        paths = tuple(self.paths[i] for i in index) if self.paths else ()
        return replace(
            self,
            name=f"{self.name} ({rule})",
            revision=digest,
            selection=self.selection[index],
            label=label,
            paths=paths,
        )

    def subset(self, rule: str, *, seed: int = 0, class_order: str = "seeded") -> tuple[PretrainingData, Manifest]:
        """Return the images that ``rule`` selects, and the manifest that says so; ``rule`` may be a manifest's file.

        Raises:
            UsageError: the rule does not fit the set.
            DataError: the manifest is damaged, or belongs to another set.
        """
        if rule.endswith(".json"):
            manifest = read_manifest(rule)
            if manifest.source_revision != self.revision or manifest.source_size != len(self):
                raise DataError(
                    f"{rule} is a subset of {manifest.source} with {manifest.source_size} images of revision "
                    f"{manifest.source_revision[:12]}; {self.name} has {len(self)} of revision {self.revision[:12]}."
                )
        else:
            manifest = make_manifest(
                rule,
                source=self.name,
                source_revision=self.revision,
                n_images=len(self),
                label=self.label,
                classes=self.classes,
                paths=self.paths,
                seed=seed,
                class_order=class_order,
            )
        return self.take(np.array(manifest.positions, dtype=np.int64), manifest.rule), manifest

    def corrupted(self, kind: str, progress: ProgressCallback | None = None) -> PretrainingData:
        """Return the set with every image corrupted once and for all (``virb.pretraining.corruptions``), kept in the cache.

        Raises:
            UsageError: the kind is unknown.
        """
        if kind not in corruptions.KINDS:
            raise UsageError(f"Unknown corruption {kind!r}; expected one of {', '.join(corruptions.KINDS)}.")
        revision = hashlib.sha256(f"{self.revision}\0{kind}".encode()).hexdigest()

        def image(i: int) -> np.ndarray:
            # By its place in the set alone, so that it does not matter who corrupts it, or when.
            generator = np.random.Generator(np.random.PCG64([i, int(revision[:16], 16)]))
            return corruptions.corrupt(self.batch(np.array([i]))[0], kind, generator, short_side=self.size)

        def images() -> Iterator[np.ndarray]:
            for i in range(len(self)):
                yield image(i)
                if progress:
                    progress(f"corrupting {self.name}", i + 1, len(self))

        size = len(image(0))
        array, _ = decoding.kept(revision[:24], f"{self.name} ({kind})", (len(self), size, size, 3), images)
        return replace(
            self,
            name=f"{self.name} ({kind})",
            revision=revision,
            pixels=ArrayPixels(array),
            selection=np.arange(len(self)),
            size=size,
        )

    def limited(self, n: int, seed: int) -> PretrainingData:
        """Return the first ``n`` images of a seeded order; the set itself if it has no more."""
        if n >= len(self):
            return self
        order = np.random.default_rng([seed, 0x11417]).permutation(len(self))
        return self.take(np.sort(order[:n]), f"{n} images, seed {seed}")


def check_batch_size(data: PretrainingData, batch_size: int) -> None:
    """Refuse a set that has fewer images than a batch.

    Raises:
        UsageError: it does.
    """
    if len(data) < batch_size:
        raise UsageError(
            f"{data.name} has {len(data)} images, fewer than a batch of {batch_size}. Pass --batch-size {len(data)} "
            "or less, or more images."
        )
