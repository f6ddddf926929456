"""The paper's probe for image-level tasks: heads trained by gradient descent on cached embeddings.

Kotar et al. 2021, Section 3.1 and Appendix C: the encoder is frozen, the head starts from random weights and trains
with Adam at 3e-4 for the task's number of epochs; the score is read once, after the last epoch. Image-level input is
not augmented, so an epoch never needs the encoder.

Heads of one shape (encoders x seeds) train as one batched problem (:mod:`virb.training.stacks`). On CPU each head's bits
are the same whatever other heads share its batch (tests/probes/test_gradient.py), so a resumed run equals an undisturbed
one. For the same reason heads train on one core, whatever their size and however many cores there are; tasks train side
by side.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from virb.contracts.head import Head
from virb.contracts.loss import Loss
from virb.contracts.parts import PIXELWISE, TARGETS
from virb.contracts.probe import (
    FORWARD_OPTIONS,
    TRAINING_OPTIONS,
    Predictor,
    Probe,
    Problem,
    Report,
    Setup,
    Source,
    training,
)
from virb.contracts.task import Protocol
from virb.errors import TrainingError
from virb.probes import dense
from virb.system import devices
from virb.system.mapped import Rows
from virb.system.threads import one_thread
from virb.training import curves, schedules
from virb.training.head_optimizers import make_optimizer, set_lr
from virb.training.stacks import Stack, aligned, stack_heads

# Beyond this many parameters a batched step is bound by memory, and one head at a time is faster.
MAX_STACKED_PARAMETERS = 1_000_000
# Features of a group of heads up to this size are stacked in memory; larger ones are read from their files batch by
# batch, with the same bits; a small head's step is then longer. A GPU would wait for them, so there a group is what fits
# into a share of its free memory, as many heads as that may be.
MAX_STACKED_BYTES = 64 << 20
SHARE_OF_A_GPU = 0.4
BYTES_A_PARAMETER = 32  # the weight, its gradient, Adam's two moments, and as much again on the way
BLOCK_BYTES = 8 << 20
MOST_WATCHED, WATCHED_AT_ONCE = 512, 128  # training examples whose loss a curve is of


def train_heads(
    build: Callable[[int], nn.Module],
    features: Sequence[np.ndarray],
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    head: Head,
    loss: Loss,
    seeds: Sequence[int],
    protocol: Protocol,
    settings: Sequence[tuple[str, float]] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    losses: Sequence[dict[int, float]] | None = None,
) -> list[nn.Module]:
    """Train one head for each pair of ``features[k]`` and ``seeds[k]``.

    Args:
        build: returns a freshly initialised head for a seed; it maps (B, D), or (B, F, D) for F > 1, to (B, K).
        features: embeddings of the images, float32 (M, D), all of one D.
        frames: int (N, F), the images of each example as rows of the features.
        targets: int (N,), the classes; or (N, K), labels or numbers.
        head: what ``build`` builds; it may have its gradients written out.
        loss: whose mean over the examples of a batch is minimised.
        seeds: of the initial weights and of the order of the examples.
        settings: each head's optimiser and learning rate, where they are not the protocol's.
        progress: called as ``progress(done, total)`` in epochs.
        losses: one for each head; gets its mean loss after an epoch (:func:`virb.training.curves.points`), on at most
            ``MOST_WATCHED`` of the examples.

    Returns:
        The trained heads, in evaluation mode, on the CPU.

    Raises:
        TrainingError: a head's weights were not finite after an epoch.
    """
    heads = [build(seed) for seed in seeds]
    settings = settings or [(protocol.optimizer, protocol.lr)] * len(heads)
    order = sorted(range(len(heads)), key=lambda k: settings[k])  # heads that share an optimiser lie side by side
    n_parameters = sum(p.numel() for p in heads[0].parameters())
    n_bytes = _stacked_bytes(features[0], frames)
    device = torch.device(device)
    group = _group_size(len(heads), n_parameters, n_bytes, len({id(array) for array in features}), device)
    n_groups = -(-len(heads) // group)
    for k in range(n_groups):
        chosen = order[k * group : (k + 1) * group]
        members = [_Member(heads[i], features[i], seeds[i], *settings[i], losses[i] if losses else {}) for i in chosen]

        def tick(done: int, total: int, k: int = k) -> None:
            if progress is not None:
                progress(k * total + done, n_groups * total)

        with one_thread():
            stack = stack_heads(head, [member.head for member in members], loss, device, dim=features[0].shape[1])
            _train_together(members, stack, frames, targets, loss, protocol, device, tick)
    return heads


def _group_size(n_heads: int, n_parameters: int, n_bytes: int, n_arrays: int, device: torch.device) -> int:
    """Return how many heads train as one problem; ``n_bytes`` is what the examples of one of the ``n_arrays`` take."""
    if device.type == "cpu":
        return max(1, min(n_heads, MAX_STACKED_PARAMETERS // max(1, n_parameters)))
    room = _stacked_budget(device)
    group = min(n_heads, int(room / 2 / (BYTES_A_PARAMETER * max(1, n_parameters))))
    if n_bytes <= room < n_arrays * n_bytes:  # where heads share features, the more fit
        group = min(group, int(room / n_bytes))
    return max(1, group)


def _stacked_budget(device: torch.device) -> float:
    """Return how many bytes of examples may be kept in memory, a GPU's where the heads are there."""
    return SHARE_OF_A_GPU * devices.free_bytes(device) if device.type == "cuda" else MAX_STACKED_BYTES


@dataclass(frozen=True)
class _Member:
    head: nn.Module
    features: np.ndarray
    seed: int
    optimizer: str
    lr: float
    losses: dict[int, float]


def _train_together(
    members: Sequence[_Member],
    stack: Stack,
    frames: np.ndarray,
    targets: np.ndarray,
    loss: Loss,
    protocol: Protocol,
    device: torch.device,
    tick: Callable[[int, int], None],
) -> None:
    n = len(frames)
    heads = [member.head for member in members]
    optimizers, first = [], 0
    for (kind, lr), same in groupby(members, key=lambda member: (member.optimizer, member.lr)):
        end = first + len(list(same))
        optimizers.append((make_optimizer(stack.parameters(first, end), kind, lr, protocol.weight_decay), lr))
        first = end
    read = _reader([member.features for member in members], frames, device)
    wanted = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    wanted = wanted.float() if wanted.is_floating_point() else wanted.long()
    generators = [torch.Generator().manual_seed(member.seed) for member in members]
    size = min(protocol.batch_size, n)
    n_batches = -(-n // size)
    n_steps = protocol.n_steps(n_batches)
    n_epochs = -(-n_steps // n_batches)
    points = curves.points(n_epochs)
    watched = torch.from_numpy(np.unique(np.linspace(0, n - 1, min(MOST_WATCHED, n)).astype(int))).to(device)
    shown = [
        copy.deepcopy(head).to(device).eval() for head in heads
    ]  # the heads as they are at a point of their curves
    means: dict[int, Tensor] = {}
    step = 0
    for epoch in range(n_epochs):
        order = torch.stack([torch.randperm(n, generator=generator) for generator in generators]).to(device)
        for start in range(0, n, size):
            count = min(size, n - start)
            chosen = order[:, start : start + size]  # (H, B): each head has its own order
            if count < aligned(size):
                chosen = torch.cat([chosen, chosen[:, :1].expand(-1, aligned(size) - count)], dim=1)
            stack.set_gradients(read(chosen), wanted[chosen], count)
            for optimizer, lr in optimizers:
                if protocol.schedule == "cosine":
                    set_lr(optimizer, schedules.cosine(step, n_steps, lr, 0.0))
                optimizer.step()
            step += 1
            if step == n_steps:  # of a number of steps, the last epoch may be a part of one
                break
        is_finite = stack.is_finite()
        if not bool(is_finite.all()):
            bad = [members[k] for k in torch.nonzero(~is_finite).flatten().tolist()]
            rates = ", ".join(f"{lr:g}" for lr in sorted({member.lr for member in bad}))
            raise TrainingError(
                f"{len(bad)} of {len(heads)} heads were not finite in epoch {epoch + 1} of {n_epochs} "
                f"(lr {rates}); seeds {sorted({member.seed for member in bad})}. Lower the learning rate."
            )
        if epoch + 1 in points:
            stack.copy_to(shown)
            means[epoch + 1] = _mean_losses(shown, read, watched, wanted, loss, dim=members[0].features.shape[1])
        tick(epoch + 1, n_epochs)
    stack.copy_to(heads)
    for head in heads:
        head.eval()
    found = torch.stack(list(means.values())).tolist() if means else []  # waits for a GPU once
    for at, values in zip(means, found, strict=True):
        for member, value in zip(members, values, strict=True):
            if math.isfinite(value):
                member.losses[at] = value


def _mean_losses(
    heads: Sequence[nn.Module], read: Callable[[Tensor], Tensor], rows: Tensor, targets: Tensor, loss: Loss, *, dim: int
) -> Tensor:
    """Return each head's mean loss (H,) on the examples ``rows`` (W,); NaN where none of them has a target."""
    sums, counts = rows.new_zeros(len(heads), dtype=torch.float32), rows.new_zeros(len(heads))
    with torch.inference_mode():
        for some in rows.split(WATCHED_AT_ONCE):
            for k, (head, x) in enumerate(zip(heads, read(some.expand(len(heads), -1)), strict=True)):
                x = x[..., :dim]
                total, n = loss.total(head(x[0] if len(x) == 1 else x.transpose(0, 1)), targets[some], None)
                sums[k] += total
                counts[k] += n
        return sums / counts


def _reader(features: Sequence[np.ndarray], frames: np.ndarray, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from examples (H, B) to their embeddings (H, F, B, D), D padded with zeros.

    The examples of all heads are kept in memory, on the device, if they fit into the budget; else every batch is read
    from the arrays, which may be mapped files far larger than the memory.
    """
    n, n_frames, dim = *frames.shape, features[0].shape[1]
    distinct = {id(array): array for array in features}  # several seeds of an encoder share its features
    budget = _stacked_budget(device)
    if len(distinct) * _stacked_bytes(features[0], frames) <= budget:
        inputs = torch.zeros((len(distinct), n_frames, n, aligned(dim)), device=device)
        step = max(1, BLOCK_BYTES // (4 * dim))
        for kept, source in zip(inputs, map(Rows, distinct.values()), strict=True):
            for k in range(n_frames):
                for start in range(0, n, step):
                    part = slice(start, start + step)
                    kept[k, part, :dim] = torch.from_numpy(source.take(frames[part, k])).to(device)
        rows = inputs.flatten(0, 2)
        places = {key: k for k, key in enumerate(distinct)}
        place = torch.tensor([places[id(array)] for array in features], device=device)
        first = n * (n_frames * place[:, None] + torch.arange(n_frames, device=device))[:, :, None]  # (H, F, 1)

        def select(chosen: Tensor) -> Tensor:
            index = chosen[:, None] + first
            return rows.index_select(0, index.flatten()).view(*index.shape, -1)

        return select

    opened = {key: Rows(array) for key, array in distinct.items()}  # a file handle each
    sources = [opened[id(array)] for array in features]
    batch = torch.empty(0)  # one buffer for all steps: new memory would have to be zeroed every time

    def read(chosen: Tensor) -> Tensor:
        nonlocal batch
        shape = (len(chosen), n_frames, chosen.shape[1], aligned(dim))
        if batch.shape != shape:
            batch = torch.zeros(shape)
        for source, examples, into in zip(sources, chosen.cpu().numpy(), batch.numpy(), strict=True):
            wanted = frames[examples].T  # (F, B)
            if aligned(dim) == dim and into.dtype == source.array.dtype:
                source.take_into(wanted.reshape(-1), into.reshape(-1, dim))
            else:
                into[..., :dim] = source.take(wanted)
        return batch.to(device)

    return read


def _stacked_bytes(features: np.ndarray, frames: np.ndarray) -> int:
    """Return what one head's examples take in memory."""
    return 4 * frames.size * aligned(features.shape[1])


def predict(
    head: nn.Module,
    features: np.ndarray,
    frames: np.ndarray,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 1024,
) -> np.ndarray:
    """Return the head's logits, float32 (N, K)."""
    head = head.to(device).eval()
    outputs = []
    rows = Rows(features)
    with torch.inference_mode():
        for start in range(0, len(frames), batch_size):
            x = _gather(rows, frames[start : start + batch_size])
            outputs.append(head(x.to(device)).cpu().numpy())
    head.cpu()
    return np.concatenate(outputs)


def _gather(source: Rows, frames: np.ndarray) -> Tensor:
    """Return the examples' embeddings: (N, D) for one frame, (N, F, D) for more."""
    return torch.from_numpy(source.take(frames if frames.shape[1] > 1 else frames[:, 0])).float()


def fit(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Train a head of the task for each setup: those of image-level tasks as one problem, decoders one by one."""
    if problem.target in PIXELWISE:
        return [dense.fit(problem, setup, device, report) for setup in setups]
    if not problem.head.trains:
        return [_remembered(problem, setup, device) for setup in setups]
    encoder = setups[0].source.encoder
    losses: list[dict[int, float]] = [{} for _ in setups]
    heads = train_heads(
        lambda seed: problem.build_head(encoder, seed),
        [setup.source.features for setup in setups],
        problem.frames,
        problem.targets,
        head=problem.head,
        loss=problem.loss,
        seeds=[setup.seed for setup in setups],
        protocol=setups[0].protocol,
        settings=[(setup.protocol.optimizer, setup.protocol.lr) for setup in setups],
        device=device,
        progress=report,
        losses=losses,
    )

    def predictor(head: nn.Module, losses: dict[int, float], protocol: Protocol) -> Predictor:
        def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
            return predict(head, source.features, frames, device=device)

        return Predictor(training(protocol), outputs, losses)

    return [predictor(head, own, setup.protocol) for head, own, setup in zip(heads, losses, setups, strict=True)]


def _remembered(problem: Problem, setup: Setup, device: torch.device) -> Predictor:
    """Show a head that does not train the train split, once."""
    head = problem.build_head(setup.source.encoder, setup.seed)
    with torch.inference_mode():
        rows = _gather(Rows(setup.source.features), problem.frames)
        head.remember(rows.to(device), torch.from_numpy(np.ascontiguousarray(problem.targets)).to(device))  # type: ignore[operator]

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        with one_thread():  # the same bits, however many cores there are
            return predict(head, source.features, frames, device=device)

    return Predictor({}, outputs)


PROBE = Probe(
    name="gradient",
    summary="a head trained by gradient descent on the frozen encoder, as in the paper",
    takes=frozenset(TARGETS),
    fit=fit,
    options=frozenset({*TRAINING_OPTIONS, *FORWARD_OPTIONS}),
    together=True,
    trains_head=True,
    grids={
        "kotar": [
            {"optimizer": optimizer, "lr": lr}
            for optimizer, lr in (("adam", 3e-4), ("adam", 3e-3), ("sgd", 3e-3), ("sgd", 3e-2))
        ]
    },
)
