"""Where a decoder's batches come from: pyramids out of the feature cache or the encoder, whole images or crops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from typing import Protocol as Typed

import numpy as np
import torch
from torch import Tensor

from virb.contracts.examples import Examples
from virb.contracts.task import Protocol
from virb.features.cache import compute_layers, resize
from virb.images.crops import random_crop, resized, scale_to
from virb.system import devices
from virb.system.mapped import Rows
from virb.system.threads import memory_bytes

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

FLOAT16_MAX = 65504.0
SHARE_OF_MEMORY = (
    0.02  # of the machine's, the most that one encoder's maps are kept in; larger ones stay in their files
)
Batch = tuple[list[list[Tensor]], list[np.ndarray], tuple[int, int]]


class Source(Typed):
    """Gives batches of examples as a decoder takes them."""

    n: int

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Return one pyramid a frame (maps float32 (B, C, h, w), fine to coarse), B targets, and the output's (h, w)."""
        ...


class Memo:
    """Remembers what was made last, for each thread: heads of several encoders on the same batch decode its targets once."""

    def __init__(self) -> None:
        self._last = threading.local()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returned for ``key``, if that was the last one asked for; else make it."""
        if getattr(self._last, "key", None) != key:
            self._last.value = make()
            self._last.key = key
        return self._last.value


class CachedSource:
    """Whole images, resized to the encoder's input: pyramids read from the feature cache's float16 arrays.

    Those that fit are kept in memory after the first epoch, on a GPU beside what training takes. ``memo`` is shared by the
    sources of one split.
    """

    def __init__(
        self,
        parts: Sequence[np.ndarray],
        examples: Examples,
        *,
        size: int,
        device: torch.device | str = "cpu",
        memo: Memo | None = None,
    ) -> None:
        self.n = len(examples)
        self.parts = [Rows(part) for part in parts]
        self.examples = examples
        self.size = size
        self.device = torch.device(device)
        self.memo = memo or Memo()
        self._held: list[Tensor] | None = None

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        frames = self.examples.frames[rows]
        if epoch and self._held is None and self._fits():  # what is read once need not be kept
            self._held = [devices.upload(torch.from_numpy(np.array(part.array)), self.device) for part in self.parts]
        pyramids = [[_map(m) for m in self._rows(frames[:, k])] for k in range(frames.shape[1])]
        targets = self.memo.get(rows.tobytes(), lambda: _targets(self.examples, rows))
        return pyramids, targets, (self.size, self.size)

    def _rows(self, frames: np.ndarray) -> list[Tensor]:
        if self._held is None:
            return [devices.upload(torch.from_numpy(part.take(frames)), self.device) for part in self.parts]
        chosen = devices.upload(torch.from_numpy(frames), self.device)
        return [held.index_select(0, chosen) for held in self._held]

    def _fits(self) -> bool:
        """Whether all maps can stay in memory beside what training takes."""
        n_bytes = sum(part.array.nbytes for part in self.parts)
        if self.device.type == "cuda":
            return n_bytes <= devices.free_bytes(self.device) / 2
        return n_bytes <= SHARE_OF_MEMORY * memory_bytes()


class ComputedSource:
    """Whole images, resized to the encoder's input: pyramids computed when asked for, rounded as the cache rounds."""

    def __init__(self, encoder: FrozenEncoder, layer: str, examples: Examples) -> None:
        self.n = len(examples)
        self.encoder = encoder
        self.layer = layer
        self.examples = examples

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        size = self.encoder.preprocess.size
        frames = self.examples.frames[rows]
        pyramids = []
        for k in range(frames.shape[1]):
            images = torch.stack([resize(self.examples.images.image(int(i)), size) for i in frames[:, k]])
            maps = compute_layers(self.encoder, self.encoder.prepare(images), {self.layer})[self.layer]
            pyramids.append([_map(m.clamp(-FLOAT16_MAX, FLOAT16_MAX).half()) for m in maps])
        return pyramids, _targets(self.examples, rows), (size, size)


class CropSource:
    """Random crops of training images (:func:`virb.images.crops.random_crop`), the same crop for every frame.

    What an example shows depends on (seed, epoch, example) alone, whatever batch it is in.
    """

    def __init__(
        self,
        encoder: FrozenEncoder,
        layer: str,
        examples: Examples,
        *,
        protocol: Protocol,
        seed: int,
        ignore_index: int,
        memo: Memo | None = None,
    ) -> None:
        assert protocol.crop is not None
        self.n = len(examples)
        self.encoder = encoder
        self.layer = layer
        self.examples = examples
        self.protocol = protocol
        self.size = protocol.crop
        self.seed = seed
        self.ignore_index = ignore_index
        self.memo = memo or Memo()

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        frames, targets = self.memo.get((rows.tobytes(), epoch), lambda: self._crops(rows, epoch))
        pyramids = [
            _pyramid(self.encoder, [crops[k] for crops in frames], self.layer) for k in range(self.examples.n_frames)
        ]
        return pyramids, targets, (self.size, self.size)

    def _crops(self, rows: np.ndarray, epoch: int) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
        frames: list[list[np.ndarray]] = []
        targets = []
        low, high = self.protocol.crop_scales
        for row in rows:
            images = [self.examples.images.image(int(frame)) for frame in self.examples.frames[row]]
            factor = scale_to(self.protocol.short_side, images[0].shape)
            crops, target = random_crop(
                images,
                np.asarray(self.examples.targets[int(row)]),
                size=self.size,
                scales=(low * factor, high * factor),
                may_mirror=self.protocol.crop_mirror,
                rng=np.random.default_rng([self.seed, epoch, int(row)]),
                ignore_index=self.ignore_index,
            )
            frames.append(crops)
            targets.append(target)
        return frames, targets


class WholeSource:
    """Whole images, one at a time, at their own resolution, or scaled so that the shorter side is ``short_side``."""

    def __init__(
        self, encoder: FrozenEncoder, layer: str, examples: Examples, *, short_side: int | None = None
    ) -> None:
        self.n = len(examples)
        self.encoder = encoder
        self.layer = layer
        self.examples = examples
        self.short_side = short_side

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        if len(rows) != 1:
            raise ValueError(f"images of their own sizes come one at a time; {len(rows)} were asked for")
        frames = [self.examples.images.image(int(index)) for index in self.examples.frames[rows[0]]]
        factor = scale_to(self.short_side, frames[0].shape)
        height, width = (max(1, round(side * factor)) for side in frames[0].shape[:2])
        frames = [resized(frame, height, width) for frame in frames]
        pyramids = [_pyramid(self.encoder, [frame], self.layer) for frame in frames]
        return pyramids, _targets(self.examples, rows), (height, width)


def _targets(examples: Examples, rows: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(examples.targets[int(row)]) for row in rows]


def _map(values: Tensor) -> Tensor:
    """Return a map (B, C, h, w) in float32, its channels last in memory: a decoder's step takes half the time so."""
    return values.to(torch.float32, memory_format=torch.channels_last)


def _pyramid(encoder: FrozenEncoder, images: Sequence[np.ndarray], layer: str) -> list[Tensor]:
    """Return the maps of images of one size, at that size."""
    stacked = torch.from_numpy(np.stack(images)).to(encoder.device)
    maps = compute_layers(encoder, encoder.preprocess.normalise(stacked), {layer})[layer]
    return [_map(m) for m in maps]
