"""What a task's reader returns: images, which of them make an example, and the targets."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from virb.contracts import holdout
from virb.contracts.images import (
    UNREADABLE,
    Accounting,
    IdentifiedImages,
    ImageSet,
    ImageSubset,
    centre_squares,
    combined,
    in_threads,
    of_array,
    stacked,
)
from virb.contracts.tree import LabelTree
from virb.errors import DataAbsent, DataError, data_option
from virb.system.paths import absolute


@dataclass(frozen=True)
class DataContext:
    """Where data may be found, as the user said it.

    ``root`` is ``--data DIR``, by default ``$VIRB_DATA``; ``places`` its ``NAME=DIR`` forms; ``cache`` the cache folder
    override. They may be given as text and relative to the working folder, and are absolute paths from then on.
    ``limit`` is the largest number of examples a split is asked for (None: all), ``progress`` is called as
    ``progress(what, done, total)`` by readers that take long.
    """

    root: Path | None = None
    places: Mapping[str, Path] = field(default_factory=dict)
    cache: Path | None = None
    limit: int | None = None
    progress: Callable[[str, int, int], None] | None = None
    #: Names of data sets that were asked for, so that a place which none was read from can be named.
    asked: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        root = self.root if self.root is not None else os.environ.get("VIRB_DATA") or None
        object.__setattr__(self, "root", None if root is None else absolute(root))
        object.__setattr__(self, "places", {name: absolute(place) for name, place in self.places.items()})
        object.__setattr__(self, "cache", None if self.cache is None else absolute(self.cache))

    def unread(self) -> list[str]:
        """Return a line for each of ``places`` under whose name nothing was asked for, with the name that was meant."""
        out = []
        for name in self.places:
            if name not in self.asked and self.asked:
                near = difflib.get_close_matches(name, self.asked, n=1)
                meant = (
                    f"did you mean {near[0]}?" if near else f"what was read is called {', '.join(sorted(self.asked))}"
                )
                out.append(f"{data_option(name)} was not used: no end task here reads a set of that name; {meant}")
        return out

    def place(self, name: str, *, under_root: str | None = None) -> Path:
        """Return the folder of the data set ``name``: its own place, else ``root / under_root`` (default: ``name``)."""
        self.asked.add(name)
        if name in self.places:
            return self.places[name]
        if self.root is None:
            raise DataAbsent(
                f"{name}: no data folder was named; pass {data_option()} (or set VIRB_DATA), or {data_option(name)}."
            )
        return self.root / (under_root if under_root is not None else name)


@dataclass(frozen=True)
class Examples:
    """The examples of one split.

    ``frames`` is int (N, F): the F images (in order) of each example, as indices into ``images``. ``targets`` is
    int (N,) for classification; for dense tasks a sequence whose item i is an array (H, W) of class indices, (H, W) of
    depth in metres or (H, W, 2) of flow in pixels; NaN marks pixels without a target, and so does ``ignore_index``. For
    retrieval train is what is searched: a test split's targets are integers (N, M), how relevant each of M things is to the
    query (0: not; 1, 2, ...: it is, the larger the harder to find; -1: does not count), and train's int (N,), which of the
    M each example is.
    ``ids`` name the examples in the predictions file. ``classes`` are the names that belong to the numbers of the
    targets, where the data say so themselves (the names of folders); ``accounting`` says what became of every file.
    ``tree`` holds the ancestors of the classes, where the data have some.

    ``groups`` (N,) say which examples belong together (frames of a video, pictures of a scene or a patient): whatever
    holds some examples out holds out whole groups. ``validation`` is the data set's own validation part, for choosing
    settings: examples over the same ``images``, which may be among the train split's own (as where train and validation
    lists together are trained on) or beside them. Only a train split has one.
    """

    images: ImageSet
    frames: np.ndarray
    targets: Any
    ids: Sequence[str]
    classes: tuple[str, ...] = ()
    accounting: Accounting | None = None
    groups: Sequence[str] | None = None
    validation: Examples | None = None
    tree: LabelTree | None = None

    def __post_init__(self) -> None:
        if self.validation is not None and self.validation.images is not self.images:
            raise DataError(
                f"{self.images.name}: the validation part must be over the same images object as train; found another."
            )
        if not isinstance(self.images, ImageSet):
            object.__setattr__(self, "images", IdentifiedImages(self.images))
            if self.validation is not None:
                object.__setattr__(self, "validation", replace(self.validation, images=self.images))
        n = len(self.frames)
        if self.frames.ndim != 2 or not np.issubdtype(self.frames.dtype, np.integer):
            raise DataError(f"{self.images.name}: frames must be integers of shape (N, F); found {self.frames.shape}.")
        if len(self.targets) != n or len(self.ids) != n:
            raise DataError(
                f"{self.images.name}: {n} examples but {len(self.targets)} targets and {len(self.ids)} ids; "
                "a reader must return as many of each."
            )
        if self.groups is not None and len(self.groups) != n:
            raise DataError(f"{self.images.name}: {n} examples but {len(self.groups)} groups; expected one each.")
        if n == 0:
            raise DataError(f"{self.images.name}: the split is empty; expected at least one example.")
        if self.frames.min() < 0 or self.frames.max() >= len(self.images):
            raise DataError(
                f"{self.images.name}: frame indices run from {self.frames.min()} to {self.frames.max()}, "
                f"but there are {len(self.images)} images."
            )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def n_frames(self) -> int:
        return int(self.frames.shape[1])

    def digests(self) -> dict[str, str]:
        """Return what the examples are, by content: a SHA-256 each of ``images``, ``targets``, ``frames``, ``ids`` and ``groups``.

        Only images that are used count, in the order of their first use, so that the same examples over a larger set
        have the same digests. Integer targets are one thing whatever their width. ``groups`` is empty where there are
        none; ``validation`` and ``tree`` are there where there is such a part, or a tree.
        """
        used, first, frames = np.unique(self.frames, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        names = b"\0".join(str(name).encode("utf-8", "surrogatepass") for name in self.ids)
        found = {
            "images": combined(self.images.digest_rows(used[order])),
            "targets": _digest_of_targets(self.targets),
            "frames": of_array(rank[frames].reshape(self.frames.shape)).hex(),
            "ids": hashlib.sha256(names).hexdigest(),
            "groups": "" if self.groups is None else _digest_of_groups(self.groups),
            **({} if self.tree is None else {"tree": self.tree.digest}),
        }
        if self.validation is not None:
            found["validation"] = hashlib.sha256(repr(sorted(self.validation.digests().items())).encode()).hexdigest()
        return found

    def subset(self, rows: np.ndarray) -> Examples:
        """Return the examples ``rows``, over the same images, with the same validation part."""
        targets = self.targets[rows] if isinstance(self.targets, np.ndarray) else Rows(self.targets, rows)
        return replace(
            self,
            frames=self.frames[rows],
            targets=targets,
            ids=[self.ids[int(row)] for row in rows],
            groups=None if self.groups is None else [self.groups[int(row)] for row in rows],
        )

    def centre_squares(self, share: float) -> Examples:
        """Return the same examples over the centre square of each image (:func:`virb.contracts.images.centre_squares`)."""
        images = centre_squares(self.images, share)
        held = None if self.validation is None else replace(self.validation, images=images)
        return replace(self, images=images, validation=held)

    def limited(self, n: int | None) -> Examples:
        """Return at most ``n`` examples: a fixed random choice, in their order, the same at every call.

        They come with their own images only: of a set of a million, a few hundred are decoded and encoded.
        """
        held = self.validation
        if n is None or (n >= len(self) and (held is None or n >= len(held))):
            return self
        chosen = self if n >= len(self) else self.subset(_some(len(self), n))
        if held is not None and n < len(held):
            held = held.subset(_some(len(held), n))
        return replace(chosen, validation=held).with_own_images()

    def with_own_images(self) -> Examples:
        """Return the same examples, and their validation part, over those images alone that they use."""
        rows = np.unique(self.used_frames)
        images = ImageSubset(self.images, rows)
        held = self.validation
        if held is not None:
            held = replace(held, images=images, frames=np.searchsorted(rows, held.frames))
        return replace(self, images=images, frames=np.searchsorted(rows, self.frames), validation=held)

    @property
    def used_frames(self) -> np.ndarray:
        """int (M,): every frame of the examples and of their validation part."""
        parts = [self.frames] + ([] if self.validation is None else [self.validation.frames])
        return np.concatenate([part.ravel() for part in parts])

    def without_hold_out(self) -> Examples:
        """Return the same examples without what says how to hold some out: where nothing is chosen, it decides nothing."""
        return self if self.groups is None and self.validation is None else replace(self, groups=None, validation=None)

    def hold_out(self, share: float, *, seed: int = 0) -> tuple[Examples, Examples]:
        """Cut a train split into the examples to fit and those to validate on (:func:`virb.contracts.holdout.cut`)."""
        fitted, held = holdout.cut(self.frames, self.groups, self.validation, share, seed=seed)
        whole = replace(self, validation=None)
        return whole.subset(fitted), whole.subset(held) if self.validation is None else self.validation


def _some(n: int, n_wanted: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(n)[:n_wanted])


@dataclass(frozen=True)
class Rows:
    """Some rows of a lazy sequence."""

    whole: Any
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.whole[int(self.rows[index])]

    def digest_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 (n, 32): the digests of the targets ``rows`` (n,)."""
        return digests_of_targets(self.whole, self.rows[rows])


def digests_of_targets(targets: Any, rows: np.ndarray) -> np.ndarray:
    """Return uint8 (n, 32): the digests of dense targets; of what their own ``digest_rows`` says, else of the arrays.

    A target that cannot be read has zeros.
    """
    own = getattr(targets, "digest_rows", None)
    if own is not None:
        return np.asarray(own(rows), dtype=np.uint8)

    def one(row: int) -> bytes:
        try:
            return of_array(np.asarray(targets[row]))
        except DataError:
            return UNREADABLE

    return stacked(in_threads(one, rows.tolist()))


def _digest_of_groups(groups: Sequence[str]) -> str:
    return hashlib.sha256(b"\0".join(str(name).encode("utf-8", "surrogatepass") for name in groups)).hexdigest()


def _digest_of_targets(targets: Any) -> str:
    if isinstance(targets, np.ndarray) and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
        return of_array(targets.astype(np.int64)).hex()
    return combined(digests_of_targets(targets, np.arange(len(targets))))
