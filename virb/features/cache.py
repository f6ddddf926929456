"""The feature cache: every (encoder, image set, layer) is computed once, kept on disk and memory-mapped.

An entry is a folder ``<cache>/features/<key>/`` (:mod:`virb.features.entry`) with one array a part (``embedding.npy``, or
``level0.npy`` ... of a pyramid, float16) and ``state.json``, whose ``rows`` says how many leading images are done. The key
is content: the encoder's identity and the images' digest. Rows are computed in whole
batches of a fixed size from the start of the set, so a killed run goes on where it was, and the bits do not depend on
how often it was killed nor on which other encoders shared the pass. One pass over the images serves many encoders:
each image is decoded and resized once.

The folder is shared between processes: one computes an entry while the others wait for it, entries that a process reads
are held (:mod:`virb.system.leases`), and beyond the size limit the entries longest unused are removed, but none that is held.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from virb.errors import NoMemoryError, VirbError
from virb.features.encode import compute_layers, encode_batch, joined_parts, n_parts_of, parts_of, resize
from virb.features.entry import Entry, Features
from virb.images import decode
from virb.images.sets import ArrayImages, ImageSet
from virb.system import cache, devices
from virb.system import progress as reports
from virb.system.mapped import Walk
from virb.system.paths import cache_root
from virb.system.threads import core_pool, n_cores

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

__all__ = ["FeatureCache", "Features", "compute_layers", "resize"]
# pyramid16: the last stages dilated to an output stride of 16; tokens: the cells of the coarsest map, one after the other.
LAYERS = re.compile(r"embedding|tokens|pyramid([1-9]\d*)?")
VERSION = 5  # of the computation between the pixels and the cached rows: raise it when the numbers change
SAVE_EVERY_S = 10.0
BATCHES_AHEAD = 2
MOST_AHEAD = 16
Progress = Callable[[int, int], None]
Work = tuple["FrozenEncoder", list[Entry]]  # an encoder and its unfinished entries


class FeatureCache:
    """Reads features from disk and computes what is missing.

    Args:
        root: the cache folder; default as :func:`virb.system.paths.cache_root` says.
        batch_size: images a forward pass. It is part of the key: another size may change the last bits.
        n_workers: threads that decode and resize images from files.
        note: told in one line what was found damaged; default: standard error.
        limit_gb: how large the cache may grow; default as :func:`virb.system.cache.limit_bytes` says.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        batch_size: int = 64,
        n_workers: int = 4,
        limit_gb: float | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._place = root
        self.root = cache_root(root) / "features"
        self.batch_size = batch_size
        self.n_workers = n_workers
        self.note = note or reports.Progress().note
        self.limit_bytes = cache.limit_bytes(root, limit_gb)

    def trim(self) -> None:
        """Bring the cache below its limit by removing what was not used for the longest time and is not in use."""
        cache.trim(self.limit_bytes, self._place)

    def encode(
        self,
        encoders: Sequence[FrozenEncoder],
        images: ImageSet,
        *,
        layers: Sequence[str] = ("embedding",),
        upto: int | None = None,
        progress: Progress | None = None,
    ) -> list[dict[str, Features]]:
        """Return for each encoder its features of the first ``upto`` images (default: all), layer by layer.

        ``progress(done, total)`` counts images. Rows beyond ``upto`` are undefined.
        """
        unknown = sorted(layer for layer in layers if not LAYERS.fullmatch(layer))
        if unknown:
            raise ValueError(f"unknown layers {unknown}; expected embedding, tokens, pyramid or pyramidSTRIDE")
        wanted = len(images) if upto is None else min(upto, len(images))
        entries = [[self._entry(enc, images, layer) for layer in layers] for enc in encoders]
        # Two encoders may compute the same: they share an entry, and the first of them computes it.
        shared = {entry.folder: entry for row in reversed(entries) for entry in reversed(row)}
        entries = [[shared[entry.folder] for entry in row] for row in entries]
        every = list(shared.values())
        for entry in every:
            entry.hold()
        with core_pool() as pool:
            for entry, problem in zip(every, pool.map(lambda entry: entry.check(wanted), every), strict=True):
                self._tell(entry, problem)
        with contextlib.ExitStack() as stack:
            unfinished = {e.folder: e for row in entries for e in row if e.rows < wanted}
            for folder in sorted(
                unfinished
            ):  # one order for everybody, so that two processes cannot wait for each other
                stack.enter_context(unfinished[folder].lock())  # which reads it again: another may have done the work
            left = {id(entry) for entry in every if entry.rows < wanted}
            work: list[Work] = []
            for enc, row in zip(encoders, entries, strict=True):
                todo = [entry for entry in row if id(entry) in left]
                left -= {id(entry) for entry in todo}
                if todo:
                    work.append((enc, todo))
            if work:
                self._compute(work, images, wanted, progress)
                self.trim()
        return [{entry.layer: entry.open() for entry in row} for row in entries]

    def has(self, encoder: FrozenEncoder, images: ImageSet, layer: str) -> bool:
        """Whether some rows of this layer are cached."""
        return self._entry(encoder, images, layer).rows > 0

    def _entry(self, encoder: FrozenEncoder, images: ImageSet, layer: str) -> Entry:
        folder = self._folder(encoder, images, layer)
        return Entry(folder, layer, len(images), self.batch_size, encoder=encoder.name, images=images.name)

    def _tell(self, entry: Entry, problem: str | None) -> None:
        if problem is None and entry.is_left():
            problem = "its state is of another kind"
        if problem is not None:
            about = entry.about
            self.note(
                f"The cached {about['layer']} of {about['encoder']} on {about['images']} is damaged: {problem}; it is "
                "computed again."
            )

    def _folder(self, encoder: FrozenEncoder, images: ImageSet, layer: str) -> Path:
        key = {
            "version": VERSION,
            "encoder": encoder.identity,
            "images": images.digest,
            "decode": decode.VERSION,
            "n": len(images),
            "layer": layer,
            "device": torch.device(encoder.device).type,
            "dtype": "tf32" if devices.precision(encoder.device, encoder.dtype) == "tf32" else str(encoder.dtype),
            "is_optimized": encoder.optimize,
            **({"is_compiled": True} if encoder.is_compiled else {}),
            "batch_size": self.batch_size,
        }
        return self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]

    def _compute(
        self,
        work: list[Work],
        images: ImageSet,
        wanted: int,
        progress: Progress | None,
    ) -> None:
        first = min(entry.rows for _, todo in work for entry in todo) // self.batch_size * self.batch_size
        sizes = sorted({encoder.preprocess.size for encoder, _ in work})
        last_saved = time.monotonic()
        for encoder, _ in work:
            try:
                encoder.prepare_network()
            except torch.OutOfMemoryError as error:
                raise NoMemoryError(encoder.name, encoder.device) from error.with_traceback(None)
        # On CPU, the parts of each encoder's batches are computed side by side on one core each; of a GPU's two batches, one is
        # computed while the other is fetched.
        place = work[0][0].device
        n_workers = n_cores() if place.type == "cpu" else 2
        n_parts = sum(n_parts_of(encoder, self.batch_size) for encoder, _ in work)
        # As many batches as all cores need, and one more that is ready when the first is done.
        n_ahead = (
            BATCHES_AHEAD if place.type != "cpu" else min(MOST_AHEAD, max(BATCHES_AHEAD, -(-n_workers // n_parts)))
        )
        with core_pool(n_workers) as pool:
            pending: deque[_Pending] = deque()
            for start, batches in self._batches(images, first, wanted, sizes):
                stop = start + len(next(iter(batches.values())))
                # One trip to a GPU for all encoders, while the batch before is encoded.
                batches = {size: _sent(batch, place) for size, batch in batches.items()}
                jobs = []
                for encoder, todo in work:
                    due = [entry for entry in todo if entry.rows <= start]
                    if due:
                        layers = {entry.layer for entry in due}
                        batch = batches[encoder.preprocess.size]
                        parts = parts_of(encoder, batch)
                        jobs.append((due, [pool.submit(encode_batch, encoder, part, layers) for part in parts]))
                pending.append(_Pending(start, stop, jobs))
                while len(pending) > n_ahead:
                    self._finish(pending.popleft(), work, first, wanted, progress)
                if time.monotonic() - last_saved > SAVE_EVERY_S:
                    _save(work)
                    last_saved = time.monotonic()
            while pending:
                self._finish(pending.popleft(), work, first, wanted, progress)
        _save(work)

    def _finish(self, pending: _Pending, work: list[Work], first: int, wanted: int, progress: Progress | None) -> None:
        """Write a batch's rows; batches finish in order, so that the rows done are always the leading ones."""
        done = [(due, joined_parts([future.result() for future in parts])) for due, parts in pending.jobs]
        for due, computed in done:
            for entry in due:
                entry.declare(computed[entry.layer])
        if pending.start == first:
            self._check_room([entry for _, todo in work for entry in todo], wanted)
        for due, computed in done:
            for entry in due:
                entry.put(pending.start, pending.stop, computed[entry.layer])
        if pending.start == first:
            self.trim()  # the files have their full length now, but take up no room yet
        if progress is not None:
            progress(min(pending.stop, wanted) - first, wanted - first)

    def _check_room(self, entries: Sequence[Entry], wanted: int) -> None:
        """Refuse at once what all entries of this pass together cannot get."""
        needed, free = sum(entry.missing_bytes(wanted) for entry in entries), shutil.disk_usage(self.root).free
        if needed > free:
            names = sorted({entry.about["encoder"] for entry in entries})
            who = names[0] if len(names) == 1 else f"{len(names)} encoders"
            raise VirbError(
                f"The features of {who} on {entries[0].about['images']} take {needed / 1e9:.1f} GB; the cache "
                f"{self.root} has {free / 1e9:.1f} GB free. Free some space (virb data cache --clear), or name another "
                "folder in VIRB_CACHE."
            )

    def _batches(
        self, images: ImageSet, first: int, wanted: int, sizes: Sequence[int]
    ) -> Iterator[tuple[int, dict[int, torch.Tensor]]]:
        """Yield (start, {size: uint8 (B, size, size, 3)}) for whole batches until ``wanted`` images are covered."""
        spans = [(s, min(s + self.batch_size, len(images))) for s in range(first, wanted, self.batch_size)]
        if isinstance(images, ArrayImages) and sizes == [images.array.shape[1]] == [images.array.shape[2]]:
            walk = Walk(images.array)
            for start, stop in spans:
                yield start, {sizes[0]: torch.from_numpy(np.array(images.array[start:stop]))}
                walk.rows(stop - start)
            return

        def load_one(index: int) -> list[torch.Tensor]:
            image = images.image(index)
            return [resize(image, size) for size in sizes]

        with core_pool(max(1, self.n_workers)) as pool:
            ahead: deque[tuple[int, list[Future[list[torch.Tensor]]]]] = deque()
            for start, stop in spans:
                ahead.append((start, [pool.submit(load_one, index) for index in range(start, stop)]))
                if len(ahead) > BATCHES_AHEAD:  # these decode while the ones before them are encoded
                    yield _stacked(sizes, *ahead.popleft())
            while ahead:
                yield _stacked(sizes, *ahead.popleft())


@dataclass(frozen=True)
class _Pending:
    """A batch that is being encoded: for each encoder its unfinished entries, and the computation of each part."""

    start: int
    stop: int
    jobs: list[tuple[list[Entry], list[Future[dict[str, list[np.ndarray]]]]]]


def _stacked(
    sizes: Sequence[int], start: int, futures: list[Future[list[torch.Tensor]]]
) -> tuple[int, dict[int, torch.Tensor]]:
    loaded = [future.result() for future in futures]
    return start, {size: torch.stack([row[k] for row in loaded]) for k, size in enumerate(sizes)}


def _sent(images: torch.Tensor, place: torch.device) -> torch.Tensor:
    """Begin to copy ``images`` to the device; only from pinned memory does a GPU copy while it computes."""
    if place.type == "cuda":
        images = images.pin_memory()
    with contextlib.suppress(torch.OutOfMemoryError):
        return images.to(place, non_blocking=True)
    return images  # it goes by parts, then


def _save(work: list[Work]) -> None:
    for _, todo in work:
        for entry in todo:
            entry.save()
