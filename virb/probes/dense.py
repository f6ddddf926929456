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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from virb.contracts.loss import Loss
from virb.contracts.probe import Predictor, Problem, Report, Setup, training
from virb.contracts.probe import Source as ProbeSource
from virb.contracts.task import Protocol
from virb.errors import DataError, TrainingError
from virb.images.geometry import PIXELS, Grid, resample
from virb.probes.dense_sources import Source
from virb.system import devices
from virb.system.threads import core_pool
from virb.training import schedules
from virb.training.curves import Curve
from virb.training.head_optimizers import make_optimizer, set_lr

if TYPE_CHECKING:
    pass

Ask = TypeVar("Ask")
Made = TypeVar("Made")


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
