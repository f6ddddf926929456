"""The feature cache: every (encoder, image set, layer) is computed once, kept on disk and memory-mapped.

An entry is a folder ``<cache>/features/<key>/`` with one array a part (``embedding.npy``, or ``level0.npy`` ... of a
pyramid, float16) and ``state.json``, whose ``rows`` says how many leading images are done. Rows are computed in whole
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
from weakref import WeakKeyDictionary

import numpy as np
import torch

from virb.errors import DataError, NoMemoryError, VirbError
from virb.images import decode
from virb.images.sets import ArrayImages, ImageSet
from virb.system import cache, devices, leases
from virb.system.files import atomic_write
from virb.system.mapped import Walk
from virb.system.paths import cache_root
from virb.system.threads import core_pool, n_cores

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

# pyramid16: the last stages dilated to an output stride of 16; tokens: the cells of the coarsest map, one after the other.
LAYERS = re.compile(r"embedding|tokens|pyramid([1-9]\d*)?")
VERSION = 3  # of the computation between the pixels and the cached rows: raise it when the numbers change
SAVE_EVERY_S = 10.0
BATCHES_AHEAD = 2
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """Cached rows of one layer: ``parts`` are arrays whose first axis is the image; one part for an embedding."""

    layer: str
    parts: tuple[np.ndarray, ...]

    @property
    def embedding(self) -> np.ndarray:
        """The embedding, float32 (N, D)."""
        return self.parts[0]


class FeatureCache:
    """Reads features from disk and computes what is missing.

    Args:
        root: the cache folder; default as :func:`virb.system.paths.cache_root` says.
        batch_size: images a forward pass. It is part of the key: another size may change the last bits.
        n_workers: threads that decode and resize images from files.
        limit_gb: how large the cache may grow; default as :func:`virb.system.cache.limit_bytes` says.
    """

    def __init__(
        self, root: Path | None = None, *, batch_size: int = 64, n_workers: int = 4, limit_gb: float | None = None
    ) -> None:
        self._place = root
        self.root = cache_root(root) / "features"
        self.batch_size = batch_size
        self.n_workers = n_workers
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
        entries = [
            [_Entry(self._folder(enc, images, layer), layer, enc.name, images.name) for layer in layers]
            for enc in encoders
        ]
        for entry in (entry for row in entries for entry in row):
            entry.hold()
        with contextlib.ExitStack() as stack:
            unfinished = {e.folder: e for row in entries for e in row if e.rows < wanted}
            for folder in sorted(
                unfinished
            ):  # one order for everybody, so that two processes cannot wait for each other
                stack.enter_context(unfinished[folder].lock())
            work = [
                (enc, [entry for entry in row if entry.rows < wanted])
                for enc, row in zip(encoders, entries, strict=True)
                if any(entry.rows < wanted for entry in row)
            ]
            if work:
                self._compute(work, images, wanted, progress)
                self.trim()
        return [{entry.layer: entry.open() for entry in row} for row in entries]

    def has(self, encoder: FrozenEncoder, images: ImageSet, layer: str) -> bool:
        """Whether some rows of this layer are cached."""
        return _Entry(self._folder(encoder, images, layer), layer).rows > 0

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
            "batch_size": self.batch_size,
        }
        return self.root / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]

    def _compute(
        self,
        work: list[tuple[FrozenEncoder, list[_Entry]]],
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
        # On CPU, (encoder, batch) pairs are computed side by side on one core each; a GPU takes them in turn.
        place = work[0][0].device
        with core_pool(n_cores() if place.type == "cpu" else 1) as pool:
            pending: deque[_Pending] = deque()
            is_trimmed = False
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
                        jobs.append((due, pool.submit(_encode, encoder, batch, layers)))
                pending.append(_Pending(start, stop, jobs))
                while len(pending) > BATCHES_AHEAD:
                    self._finish(pending.popleft(), len(images), first, wanted, progress)
                    if not is_trimmed:  # the files have their full length now, but take up no room yet
                        self.trim()
                        is_trimmed = True
                if time.monotonic() - last_saved > SAVE_EVERY_S:
                    _save(work)
                    last_saved = time.monotonic()
            while pending:
                self._finish(pending.popleft(), len(images), first, wanted, progress)
        _save(work)

    def _finish(self, pending: _Pending, n_total: int, first: int, wanted: int, progress: Progress | None) -> None:
        """Write a batch's rows; batches finish in order, so that the rows done are always the leading ones."""
        for due, future in pending.jobs:
            computed = future.result()
            for entry in due:
                entry.put(pending.start, pending.stop, n_total, computed[entry.layer])
        if progress is not None:
            progress(min(pending.stop, wanted) - first, wanted - first)

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
    """A batch that is being encoded: for each encoder its unfinished entries, and the computation."""

    start: int
    stop: int
    jobs: list[tuple[list[_Entry], Future[dict[str, list[np.ndarray]]]]]


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


def _save(work: list[tuple[FrozenEncoder, list[_Entry]]]) -> None:
    for _, todo in work:
        for entry in todo:
            entry.save()


def _encode(encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]) -> dict[str, list[np.ndarray]]:
    """Return the layers of uint8 ``images``. On CPU large images go a few at a time, so that they stay in the caches."""
    size = encoder.preprocess.size
    on_cpu = encoder.device.type == "cpu"
    step = max(8, min(64, round(64 * (64 / size) ** 2))) if on_cpu else min(len(images), _FITTING.get(encoder, 1 << 30))
    while True:
        with contextlib.suppress(torch.OutOfMemoryError):
            return _encode_by(step, encoder, images, layers)
        # Here the error is gone, and with it what its traceback held.
        devices.free_memory(encoder.device)
        if step == 1:
            raise NoMemoryError(encoder.name, encoder.device)
        step = _FITTING[encoder] = -(-step // 2)


# Of encoders whose batches were too large for their device's memory: how many images fitted.
_FITTING: WeakKeyDictionary[FrozenEncoder, int] = WeakKeyDictionary()


def _encode_by(
    step: int, encoder: FrozenEncoder, images: torch.Tensor, layers: set[str]
) -> dict[str, list[np.ndarray]]:
    parts = [
        compute_layers(encoder, encoder.prepare(images[start : start + step]), layers)
        for start in range(0, len(images), step)
    ]
    return {
        layer: [torch.cat(maps).cpu().numpy() for maps in zip(*(part[layer] for part in parts), strict=True)]
        for layer in layers
    }


def compute_layers(encoder: FrozenEncoder, x: torch.Tensor, layers: set[str]) -> dict[str, list[torch.Tensor]]:
    """Return the maps of each layer for prepared images ``x`` in as few passes as possible."""
    maps: dict[str, list[torch.Tensor]] = {}
    if layers >= {"embedding", "pyramid"}:
        embedding, maps["pyramid"] = encoder.features(x)
        maps["embedding"] = [embedding]
    elif "embedding" in layers:
        maps["embedding"] = [encoder.embed(x)]
    elif "pyramid" in layers:
        maps["pyramid"] = encoder.pyramid(x)
    if "tokens" in layers:
        coarsest = (maps["pyramid"] if "pyramid" in maps else encoder.pyramid(x))[-1]
        maps["tokens"] = [coarsest.flatten(2).transpose(1, 2)]
    for layer in layers - {"embedding", "tokens", "pyramid"}:
        maps[layer] = encoder.pyramid(x, output_stride=int(layer.removeprefix("pyramid")))
    return maps


def resize(image: np.ndarray, size: int) -> torch.Tensor:
    """Return ``image``, uint8 (H, W, 3), as (size, size, 3): both sides, no crop, bilinear with antialiasing."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"An image has shape {image.shape} and type {image.dtype}; expected uint8 of shape (H, W, 3).")
    tensor = torch.from_numpy(np.array(image))  # a copy: memory-mapped arrays are read-only
    if image.shape[:2] == (size, size):
        return tensor
    channels_first = tensor.permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)


class _Entry:
    """One folder of the cache."""

    def __init__(self, folder: Path, layer: str, encoder: str = "", images: str = "") -> None:
        self.folder = folder
        self.layer = layer
        self.about = {"layer": layer, "encoder": encoder, "images": images}  # for people; the key is the folder's name
        self._arrays: list[np.memmap] | None = None
        self._lease: leases.Lease | None = None
        self.rows = 0
        self._read_state()

    def _read_state(self) -> None:
        try:
            state = json.loads((self.folder / "state.json").read_text(encoding="utf-8"))
            self.rows, self.parts = int(state["rows"]), int(state["parts"])
        except (OSError, ValueError, KeyError):
            self.rows, self.parts = 0, 0

    def hold(self) -> None:
        """Keep the folder from being removed, until this entry and the arrays that it opened are gone."""
        try:
            self._lease = leases.hold(self.folder, create=True)
        except OSError as error:
            raise VirbError(
                f"The feature cache {self.folder.parent} cannot be written: {error.strerror or error}. "
                "Name another folder in VIRB_CACHE."
            ) from error
        self._read_state()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that computes this entry, which must be held."""
        from filelock import FileLock

        with FileLock(self.folder / "lock"):
            self._read_state()  # another process may have done the work while this one waited
            yield

    def put(self, start: int, stop: int, n_total: int, maps: list[np.ndarray]) -> None:
        """Write rows ``start:stop``; pyramids are rounded to float16, a tenth of a percent at worst."""
        if self._arrays is None:
            mode = "r+" if self.rows else "w+"
            dtype = np.float32 if self.layer == "embedding" else np.float16
            self.parts = len(maps)
            if not self.rows:
                self._check_room(sum(n_total * m[0].size for m in maps) * np.dtype(dtype).itemsize)
            self._arrays = [
                np.lib.format.open_memmap(
                    self.folder / f"{self._part(k)}.npy", mode=mode, dtype=dtype, shape=(n_total, *m.shape[1:])
                )
                for k, m in enumerate(maps)
            ]
            self._walk = Walk(*self._arrays)
        for array, rows in zip(self._arrays, maps, strict=True):
            if array.dtype == np.float16:
                # Beyond float16's range a value would become inf and poison the head; the largest one serves as well.
                rows = np.clip(rows, -65504, 65504)
            array[start:stop] = rows
        self._walk.rows(stop - start)
        self.rows = stop

    def save(self) -> None:
        """Make the rows so far durable: the arrays first, then the state that vouches for them."""
        if self._arrays is None:
            return
        for array in self._arrays:
            array.flush()
        with atomic_write(self.folder / "state.json") as file:
            file.write(json.dumps({"rows": self.rows, "parts": self.parts, **self.about}).encode())

    def open(self) -> Features:
        parts = tuple(np.load(self.folder / f"{self._part(k)}.npy", mmap_mode="r") for k in range(self.parts))
        return Features(self.layer, tuple(leases.keep(part, self._lease) for part in parts))

    def _check_room(self, n_bytes: int) -> None:
        """Refuse what cannot fit: a mapped file that meets a full disk ends the process without a word."""
        free = shutil.disk_usage(self.folder).free
        if n_bytes > free:
            raise VirbError(
                f"The features of {self.about['encoder']} on {self.about['images']} take {n_bytes / 1e9:.1f} GB; "
                f"{self.folder.parent} has {free / 1e9:.1f} GB free. Free some space (virb data cache --clear), or name "
                "another folder in VIRB_CACHE."
            )

    def _part(self, k: int) -> str:
        return "embedding" if self.layer == "embedding" else f"level{k}"
