"""Images to pretrain on: named sources and folders, as uint8 batches of one size, with labels where there are any."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from virb.errors import DataError, UsageError
from virb.pretraining import corruptions, decoding
from virb.pretraining.decoding import ProgressCallback
from virb.pretraining.kept import kept
from virb.pretraining.pixels import KeptPixels, Padded, Pixels, unstacked
from virb.pretraining.subsets import Manifest, make_manifest, read_manifest


@dataclass(frozen=True)
class PretrainingData:
    """An ordered set of N images. ``label`` is int (N,) or None; ``revision`` changes with any pixel or the order.

    ``selection`` (N,) are the positions in ``pixels`` that belong to the set, in order; ``paths`` name them where they
    are files. ``size`` is the side in pixels where all are squares of one. ``pixels`` may hold the images reduced to a
    ``short_side``; ``native`` then reads them as they are.
    """

    name: str
    revision: str
    pixels: Pixels
    selection: np.ndarray
    size: int | None = None
    label: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    short_side: int | None = None
    native: Pixels | None = None
    notes: tuple[str, ...] = ()  # what the user should know of how the set was read

    def __len__(self) -> int:
        return len(self.selection)

    def batch(self, index: np.ndarray) -> np.ndarray | Padded:
        """Return the images at ``index`` (n,) of the set, uint8 (n, H, W, 3); padded where they differ in size."""
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
        short_side = min(corruptions.SHORT_SIDE, self.size or corruptions.SHORT_SIDE)
        if kind == "resize" and self.size == short_side:
            raise UsageError(
                f"The corruption resize makes the short side {corruptions.SHORT_SIDE} px; all images of {self.name} are squares "
                f"of {self.size} px, which it would leave as they are."
            )
        revision = hashlib.sha256(f"{self.revision}\0{kind}\0{corruptions.VERSION}".encode()).hexdigest()
        originals = self.native or self.pixels

        def image(i: int) -> np.ndarray:
            # By its place in the set alone, so that it does not matter who corrupts it, or when.
            generator = np.random.Generator(np.random.PCG64([i, int(revision[:16], 16)]))
            (original,) = unstacked(originals.read(self.selection[i : i + 1]))
            return decoding.reduced(
                corruptions.corrupt(original, kind, generator, short_side=short_side), self.short_side
            )

        def images() -> Iterator[np.ndarray]:
            for i in range(len(self)):
                yield image(i)
                if progress:
                    progress(f"corrupting {self.name}", i + 1, len(self))

        key = hashlib.sha256(f"{revision}\0{self.short_side}".encode()).hexdigest()[:24]
        found = kept(key, f"{self.name} ({kind})", len(self), images)
        return replace(
            self,
            name=f"{self.name} ({kind})",
            revision=revision,
            pixels=KeptPixels(found),
            native=None,
            selection=np.arange(len(self)),
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
