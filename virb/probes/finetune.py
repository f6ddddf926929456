"""Fine-tuning: a copy of the encoder trains together with a linear head, from its pretrained weights.

Chen et al. 2020 (SimCLR), Appendix B.8.1: SGD with Nesterov momentum 0.9, batch statistics in training with the
statistics' momentum set to max(1 - 10/s, 0.9), s being the steps of an epoch; random crops with resize and flips, and no
other augmentation. docs/probes.md lists where this departs from it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from virb.contracts.loss import Loss
from virb.contracts.probe import TRAINING_OPTIONS, Predictor, Probe, Problem, Report, Setup, Source, training
from virb.contracts.task import AUGMENTATIONS, Protocol, Task
from virb.errors import TrainingError, UsageError, option
from virb.features.cache import resize
from virb.heads import build_head
from virb.heads.layers import with_own_layers
from virb.heads.linear import HEAD as LINEAR
from virb.images.sets import ImageSet
from virb.networks.base import Backbone
from virb.networks.preprocess import Preprocess
from virb.system import devices
from virb.system.threads import MemoryShare, core_pool, memory_bytes, one_thread, own_generator
from virb.training import augment, image_ops, schedules
from virb.training.curves import Curve

MOMENTUM = 0.9
# Encoders in training take gigabytes each: on a machine of many cores not every core may have one.
MEMORY = MemoryShare(memory_bytes() / 2)


class Network(nn.Module):
    """An encoder and a linear layer on the embeddings of an example's frames side by side.

    Its images are float (B, F * 3, size, size) in 0..1, the frames one after the other. ``encoder`` becomes a part of
    it: pass a copy. The head's initial weights depend on ``seed`` alone.
    """

    def __init__(self, encoder: Backbone, preprocess: Preprocess, *, n_frames: int, n_classes: int, seed: int) -> None:
        super().__init__()
        self.head = build_head(LINEAR, n_out=n_classes, dim=encoder.dim * n_frames, seed=seed)
        self.preprocess = preprocess
        self.encoder = encoder
        with own_generator(seed):  # of dropout, where the encoder has it
            with_own_layers(encoder)

    def forward(self, images: Tensor) -> Tensor:
        frames = image_ops.normalize(
            images.unflatten(1, (-1, 3)).flatten(0, 1), self.preprocess.mean, self.preprocess.std
        )
        frames = frames.contiguous(memory_format=torch.channels_last)
        return self.head(self.encoder.embed(frames).reshape(len(images), -1))


def train(
    network: Network,
    images: ImageSet,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    loss: Loss,
    protocol: Protocol,
    seed: int,
    augmentations: Sequence[str] = (),
    decays: str = "all",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    losses: dict[int, float] | None = None,
) -> Network:
    """Train ``network`` in place, and return it in evaluation mode.

    Args:
        frames: int (N, F), the images of each example.
        targets: int (N,), the classes; or (N, K), labels or numbers.
        loss: whose mean over the examples of a batch is minimised.
        protocol: epochs, batch size, optimiser and peak learning rate, which falls to 0 by half a cosine.
        seed: of the order of the examples and of the augmentations.
        augmentations: "crop" and "flip", or one of them, or none; all frames of an example get the same.
        decays: "all" or "head", the weights that ``protocol.weight_decay`` is of.
        progress: called as ``progress(done, total)`` in batches.
        losses: gets the mean training loss by epoch.

    Raises:
        TrainingError: the loss was not finite.
        UsageError: there are fewer than two examples.
    """
    n, size = len(frames), network.preprocess.size
    if n < 2:
        raise UsageError(f"{n} training example is too few to fine-tune on: batch statistics need two.")
    # Batch statistics of one example on a map of one pixel do not exist: a last one joins the batch before.
    starts = [first for first in range(0, n, protocol.batch_size) if first == 0 or n - first > 1]
    ends = [*starts[1:], n]
    n_batches = len(starts)
    n_steps = protocol.n_steps(n_batches)
    network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = min(10 / n_batches, 0.1)  # PyTorch's is the share of the new value, the paper's of the old
    decay = {"weight_decay": protocol.weight_decay}
    parameters = [
        {"params": list(network.head.parameters()), **decay},
        {"params": list(network.encoder.parameters()), **(decay if decays == "all" else {"weight_decay": 0.0})},
    ]
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, lr=protocol.lr)
        if protocol.optimizer == "adam"
        else torch.optim.SGD(parameters, lr=protocol.lr, momentum=MOMENTUM, nesterov=True)
    )
    chain = augment.compose([name for name in AUGMENTATIONS if name in augmentations], size)
    wanted = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    wanted = wanted.float() if wanted.is_floating_point() else wanted.long()
    order = torch.Generator().manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    on_cpu = torch.device(device).type == "cpu"
    is_good = torch.ones((), dtype=torch.bool, device=device)
    curve = Curve({} if losses is None else losses, n_batches=n_batches, n_steps=n_steps)

    def orders() -> Iterator[Tensor]:
        while True:
            permutation = torch.randperm(n, generator=order)
            yield from (permutation[first:end] for first, end in zip(starts, ends, strict=True))

    examples, same = itertools.tee(itertools.islice(orders(), n_steps))
    with one_thread():
        batches = _batches(images, (frames[chosen.numpy()] for chosen in same), size, device)
        for step, (chosen, batch) in enumerate(zip(examples, batches, strict=True)):
            for transform in chain:
                batch = transform(batch, draws)
            for group in optimizer.param_groups:
                group["lr"] = schedules.cosine(step, n_steps, protocol.lr, 0.0)
            total, n_counted = loss.total(network(batch), wanted[devices.upload(chosen, wanted.device)], None)
            value = total / torch.as_tensor(n_counted).clamp_min(1)
            is_good &= torch.isfinite(value.detach())
            # On a GPU the answer is read once an epoch, as it is waited for.
            is_read = on_cpu or (step + 1) % n_batches == 0 or step + 1 == n_steps
            if is_read and not bool(is_good):
                raise TrainingError(
                    f"The loss was not finite in epoch {step // n_batches + 1} of {-(-n_steps // n_batches)} (lr {protocol.lr:g}, "
                    f"seed {seed}). Lower the learning rate with {option('lr')}."
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            curve.add(step, value)
            if progress is not None:
                progress(step + 1, n_steps)
    return network.eval()


def bytes_needed(network: Network, n_frames: int, batch_size: int, n_tried: int = 2) -> int:
    """Return about what a step takes in memory: what the forward pass keeps for the way back, weights and their moments.

    The former is counted on ``n_tried`` blank examples; it grows with the examples.
    """
    size = network.preprocess.size
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold the graph, the graph the tensor: never freed

    n_weights = sum(p.numel() for p in network.parameters())
    statistics = {name: value.clone() for name, value in network.named_buffers()}
    device = next(network.parameters()).device
    network.train()
    with one_thread(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network(torch.zeros(n_tried, 3 * n_frames, size, size, device=device)).sum()
    for name, value in network.named_buffers():
        value.copy_(statistics[name])
    activations = max(0, sum(kept.values()) - 4 * n_weights)
    return activations * batch_size // n_tried + 16 * n_weights


def predict(
    network: Network,
    images: ImageSet,
    frames: np.ndarray,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return the logits of the examples ``frames`` (N, F), float32 (N, K).

    ``progress`` is called as ``progress(done, total)`` in examples.
    """
    network.eval()
    outputs = []
    with one_thread(), torch.inference_mode():
        starts = range(0, len(frames), batch_size)
        parts = (frames[start : start + batch_size] for start in starts)
        for start, batch in zip(starts, _batches(images, parts, network.preprocess.size, device), strict=True):
            outputs.append(network(batch).cpu().numpy())
            if progress is not None:
                progress(min(start + batch_size, len(frames)), len(frames))
    return np.concatenate(outputs)


def _batches(images: ImageSet, parts: Iterable[np.ndarray], size: int, device: torch.device | str) -> Iterator[Tensor]:
    """Yield the images of examples (B, F), both sides resized, as float (B, F * 3, size, size) in 0..1.

    For a GPU all cores decode the next batch while it computes.
    """

    def load(index: int) -> Tensor:
        return resize(images.image(index), size)

    def made(loaded: Iterable[Tensor], part: np.ndarray) -> Tensor:
        return image_ops.to_float(devices.upload(torch.stack(list(loaded)), device)).view(len(part), -1, size, size)

    if torch.device(device).type == "cpu":
        for part in parts:
            yield made(map(load, part.reshape(-1).tolist()), part)
        return
    with core_pool() as pool:
        ahead: deque[tuple[list[Future[Tensor]], np.ndarray]] = deque()
        for part in parts:
            ahead.append(([pool.submit(load, index) for index in part.reshape(-1).tolist()], part))
            if len(ahead) > 1:
                futures, earlier = ahead.popleft()
                yield made((future.result() for future in futures), earlier)
        for futures, last in ahead:
            yield made((future.result() for future in futures), last)


def fit(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Train a copy of the encoder with a linear layer on the embeddings of an example's frames."""
    (setup,) = setups
    encoder, n_frames = setup.source.encoder, problem.frames.shape[1]
    network = Network(
        encoder.trainable_copy(), encoder.preprocess, n_frames=n_frames, n_classes=problem.n_out, seed=setup.seed
    )
    batch_size = min(setup.protocol.batch_size, len(problem.frames))
    losses: dict[int, float] = {}
    with MEMORY.take(bytes_needed(network, n_frames, batch_size)):
        train(
            network,
            setup.source.images,
            problem.frames,
            problem.targets,
            loss=problem.loss,
            protocol=setup.protocol,
            seed=setup.seed,
            augmentations=problem.augmentations,
            decays=setup.options.get("weight_decay_on", "all"),
            device=device,
            progress=report,
            losses=losses,
        )
    protocol = {
        **training(setup.protocol),
        **setup.options,
        "momentum": None if setup.protocol.optimizer == "adam" else MOMENTUM,
        "schedule": "cosine",
        "augmentations": list(problem.augmentations),
        "head": "linear",
    }

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        return predict(network, source.images, frames, device=device, progress=report)

    return [Predictor(protocol, outputs, losses)]


def refuses(task: Task, target: str) -> str:
    """Return why the task cannot be fitted: there is nothing to minimise."""
    return "" if task.loss else f"its head {task.head} does not train, so that it names no loss to train the encoder by"


def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return what decides the fit, beside the data."""
    return {**protocol, "momentum": MOMENTUM, "augmentations": list(augmentations)}


def _grid(rates: tuple[float, float], decays: tuple[float, float], n_decays: int) -> list[dict[str, float]]:
    """Return 7 rates by ``n_decays`` weight decays, each divided by the rate (Chen et al. 2020, Appendix B.8.1)."""
    chosen = [float(f"{lr:.4g}") for lr in np.geomspace(*rates, 7)]
    values = np.geomspace(*decays, n_decays)
    return [{"lr": lr, "weight_decay": float(f"{decay / lr:.4g}")} for lr in chosen for decay in values]


# From pretrained weights also without any weight decay; from random ones larger, and for twice as many steps.
PRETRAINED = _grid((1e-4, 1e-1), (1e-6, 1e-3), 7)
PRETRAINED = [{"lr": lr, "weight_decay": 0.0} for lr in sorted({setting["lr"] for setting in PRETRAINED})] + PRETRAINED
UNTRAINED = _grid((1e-3, 1.0), (1e-5, 10**-1.5), 8)

PROBE = Probe(
    name="finetune",
    summary="a copy of the encoder trained together with a linear head",
    takes=frozenset({"class", "labels", "number"}),
    refuses=refuses,
    fit=fit,
    settings=settings,
    options=frozenset({*TRAINING_OPTIONS, "weight_decay_on"}),
    why_not="the encoder's copy trains in fp32",
    is_frozen=False,
    protocol=Protocol(epochs=30, batch_size=64, optimizer="sgd", lr=0.01),
    grids={"pretrained": PRETRAINED, "untrained": UNTRAINED},
)
