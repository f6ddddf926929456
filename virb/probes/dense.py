"""The paper's probe for pixelwise tasks: a decoder trained by gradient descent on the frozen encoder's pyramid.

Images are resized to the encoder's input size. Their maps come from the feature cache when they are there, and from the
encoder otherwise; either way they pass through float16, so that both give the same scores up to the rounding of the
forward pass. A prediction is resized (bilinear; logits for classes) to the target's own resolution, where the loss and
the metric are computed: scores of encoders with different input sizes are comparable.

Tasks whose protocol has a crop train on random crops and are evaluated on whole images at full resolution (Kotar et al.
2021, Appendix C); there the encoder runs at the crop's and the image's own size, and nothing is cached.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from typing import Protocol as Typed

import numpy as np
import torch
from torch import Tensor, nn

from virb.contracts.examples import Examples
from virb.contracts.loss import Loss
from virb.contracts.probe import Predictor, Problem, Report, Setup, training
from virb.contracts.probe import Source as ProbeSource
from virb.contracts.task import Protocol
from virb.errors import DataError, TrainingError
from virb.features.cache import compute_layers, resize
from virb.images.crops import random_crop, resized, scale_to
from virb.images.geometry import PIXELS, Grid, resample
from virb.system import devices
from virb.system.mapped import Rows
from virb.system.threads import core_pool, memory_bytes
from virb.training import schedules
from virb.training.curves import Curve
from virb.training.head_optimizers import make_optimizer, set_lr

if TYPE_CHECKING:
    from virb.networks.encoder import FrozenEncoder

FLOAT16_MAX = 65504.0
SHARE_OF_MEMORY = (
    0.02  # of the machine's, the most that one encoder's maps are kept in; larger ones stay in their files
)
Ask = TypeVar("Ask")
Made = TypeVar("Made")
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


def train_dense_head(
    build: Callable[[int, float], nn.Module],
    source: Source,
    targets: Any,
    *,
    loss: Loss,
    target: str,
    seed: int,
    protocol: Protocol,
    ignore_index: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
    losses: dict[int, float] | None = None,
) -> nn.Module:
    """Train one decoder and return it in evaluation mode.

    Args:
        build: ``build(seed, initial_output)`` returns a fresh head, called as ``head(*pyramids, (h, w))``.
        source: the training examples.
        targets: their targets; a regression's output starts at the mean of a sample of them.
        loss: what is minimised: its mean over all pixels of the batch that have a target.
        target: "mask" or "map".
        ignore_index: the class of pixels without a target in a mask; in a map those are NaN.
        dtype: the encoder's; beside one in half precision the head trains in bfloat16 where it is on a GPU.
        progress: called as ``progress(done, total)`` in batches.
        losses: gets the mean training loss by epoch.

    Raises:
        TrainingError: the loss was not finite.
        DataError: no pixel of the sampled training targets is valid.
    """
    device = torch.device(device)
    head = build(seed, 0.0)
    if not any(True for _ in head.parameters()):
        return head.to(device).eval()  # one that has no weights has nothing to learn
    if target == "map":
        head = build(seed, mean_target(targets))
    head = head.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = make_optimizer(list(head.parameters()), protocol.optimizer, protocol.lr, protocol.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    n_batches = -(-source.n // protocol.batch_size)
    n_steps = protocol.n_steps(n_batches)
    is_good = torch.ones((), dtype=torch.bool, device=device)
    curve = Curve({} if losses is None else losses, n_batches=n_batches, n_steps=n_steps)
    asked = asked_rows(source.n, protocol, generator)
    for step, (pyramids, wanted, size) in enumerate(made_ahead(asked, lambda ask: source.batch(*ask), device)):
        if protocol.schedule == "cosine":
            set_lr(optimizer, schedules.cosine(step, n_steps, protocol.lr, 0.0))
        with _autocast(device, dtype):
            output = head(*pyramids, size)
        value = mean_loss(output.float(), wanted, loss, target == "map", ignore_index)
        if value is not None:  # None: no pixel of this batch has a target
            optimizer.zero_grad()
            value.backward()
            is_good &= torch.isfinite(value.detach())
        # On a GPU the answer is read once an epoch, as it is waited for.
        is_read = device.type == "cpu" or (step + 1) % n_batches == 0 or step + 1 == n_steps
        if is_read and not bool(is_good):
            raise TrainingError(
                f"The loss was not finite in epoch {step // n_batches + 1} of {-(-n_steps // n_batches)} (lr "
                f"{protocol.lr}, "
                f"seed {seed}). Lower the learning rate."
            )
        if value is not None:
            optimizer.step()
        curve.add(step, value)
        if progress is not None:
            progress(step + 1, n_steps)
    return head.eval()


def asked_rows(n: int, protocol: Protocol, generator: torch.Generator) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the rows of each update's batch and its epoch, each epoch in a fresh order."""

    def all_asked() -> Iterator[tuple[np.ndarray, int]]:
        for epoch in itertools.count():
            order = torch.randperm(n, generator=generator).numpy()
            for start in range(0, n, protocol.batch_size):
                yield order[start : start + protocol.batch_size], epoch

    return itertools.islice(all_asked(), protocol.n_steps(-(-n // protocol.batch_size)))


def made_ahead(asked: Iterable[Ask], make: Callable[[Ask], Made], device: torch.device) -> Iterator[Made]:
    """Yield ``make(ask)`` for all that is asked; for a GPU the next one is made while one is used."""
    if device.type != "cuda":
        for ask in asked:
            yield make(ask)
        return
    with core_pool(1) as pool:
        ahead: Future[Made] | None = None
        for ask in asked:
            upcoming = pool.submit(make, ask)
            if ahead is not None:
                yield ahead.result()
            ahead = upcoming
        if ahead is not None:
            yield ahead.result()


def _autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[Any]:
    """On a GPU a head beside an encoder in half precision computes in bfloat16: it has float32's range."""
    is_half = device.type == "cuda" and dtype != torch.float32
    return torch.autocast("cuda", dtype=torch.bfloat16) if is_half else contextlib.nullcontext()


def predict_dense(
    head: nn.Module, source: Source, rows: np.ndarray, *, dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], list[np.ndarray]]:
    """Return the outputs (C, H, W) at the targets' resolutions, and the targets; ``dtype`` as in training."""
    with torch.inference_mode():
        pyramids, targets, size = source.batch(rows, 0)
        if getattr(head, "is_in_pixels", False) and any(target.shape[:2] != tuple(size) for target in targets):
            return _asked_by_point(head, pyramids, targets, size), targets
        with _autocast(pyramids[0][0].device, dtype):
            output = head(*pyramids, size)
        output = output.float()
        return [fitted(output[k : k + 1], target.shape)[0] for k, target in enumerate(targets)], targets


def _asked_by_point(
    head: Any, pyramids: Sequence[Sequence[Tensor]], targets: Sequence[np.ndarray], size: tuple[int, int]
) -> list[Tensor]:
    """Return the motions (C, H, W) of the points that have a target, in its pixels; 0 elsewhere.

    Between two pixels of the resized image nothing is interpolated: neighbours may be found at places far apart.
    """
    found = []
    for k, target in enumerate(targets):
        y, x = np.nonzero(np.isfinite(target).all(-1))
        there = torch.from_numpy(np.stack([x, y], axis=1)).to(pyramids[0][0])
        scale = there.new_tensor([target.shape[1] / size[1], target.shape[0] / size[0]])
        here = (there + 0.5) / scale - 0.5
        first, second = ([one[k] for one in maps] for maps in pyramids)
        moved = (head.at(first, second, size, here) + 0.5) * scale - 0.5 - there
        flow = torch.zeros(target.shape[-1], *target.shape[:2], device=there.device)
        flow[:2, y, x] = moved.t()
        found.append(flow)
    return found


def fit(problem: Problem, setup: Setup, device: torch.device, report: Report) -> Predictor:
    """Train the task's decoder on ``setup.source.pixels``."""
    dtype = setup.source.encoder.dtype
    losses: dict[int, float] = {}
    head = train_dense_head(
        lambda seed, initial_output: problem.build_head(setup.source.encoder, seed, initial_output),
        setup.source.pixels,
        problem.targets,
        loss=problem.loss,
        target=problem.target,
        seed=setup.seed,
        protocol=setup.protocol,
        ignore_index=problem.ignore_index,
        device=device,
        dtype=dtype,
        progress=report,
        losses=losses,
    )

    def outputs(source: ProbeSource, rows: np.ndarray, report: Report) -> tuple[list[Tensor], list[np.ndarray]]:
        return predict_dense(head, source.pixels, rows, dtype=dtype)

    is_half = device.type == "cuda" and dtype != torch.float32
    return Predictor({**training(setup.protocol), **({"autocast": "bf16"} if is_half else {})}, outputs, losses)


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


def fitted(output: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return ``output`` (N, C, h, w) of a resized image at the pixels of the image as it was, (H, W, ...) of a target."""
    height, width = int(shape[0]), int(shape[1])
    return resample(output, PIXELS, Grid.resized(tuple(output.shape[-2:]), (height, width)), (height, width))


def by_size(output: Tensor, targets: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the outputs at their targets' pixels, and these targets (B, H, W, ...), for each size that occurs."""
    shapes = {target.shape for target in targets}
    for shape in sorted(shapes):
        rows = [k for k, target in enumerate(targets) if target.shape == shape]
        wanted = devices.upload(torch.from_numpy(np.stack([targets[k] for k in rows])), output.device)
        yield fitted(output[rows] if len(shapes) > 1 else output, shape), wanted


def mean_loss(
    output: Tensor, targets: Sequence[np.ndarray], loss: Loss, is_map: bool, ignore_index: int | None
) -> Tensor | None:
    """Return the mean over all valid pixels of the batch; None if there are none. Targets may differ in size."""
    if not any(_has_target(target, is_map, ignore_index) for target in targets):
        return None
    sums, counts = [], []
    for there, wanted in by_size(output, targets):
        if is_map:
            wanted = wanted[:, None] if wanted.ndim == 3 else wanted.permute(0, 3, 1, 2)
        total, n = loss.total(there, wanted, ignore_index)
        sums.append(total)
        counts.append(n)
    return torch.stack(sums).sum() / sum(counts)


def _has_target(target: np.ndarray, is_map: bool, ignore_index: int | None) -> bool:
    """Whether any pixel counts, asked on the host, where the targets are."""
    if is_map:
        return bool(np.isfinite(target).any())
    return ignore_index is None or bool((target != ignore_index).any())


def mean_target(targets: Any, n_sampled: int = 256) -> float:
    """Return the mean of the valid values in an even sample of the targets, where a regression's output starts."""
    rows = np.unique(np.linspace(0, len(targets) - 1, min(n_sampled, len(targets))).astype(int))
    total, count = 0.0, 0
    for row in rows:
        values = np.asarray(targets[int(row)], dtype=np.float64)
        values = values[np.isfinite(values)]
        total, count = total + float(values.sum()), count + values.size
    if count == 0:
        raise DataError(
            f"None of {len(rows)} sampled training targets has a valid pixel; check the data's annotations."
        )
    return total / count
