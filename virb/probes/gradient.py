"""The paper's probe for image-level tasks: heads trained by gradient descent on cached embeddings.

Kotar et al. 2021, Section 3.1 and Appendix C: the encoder is frozen, the head starts from random weights and trains
with Adam at 3e-4 for the task's number of epochs; the score is read once, after the last epoch. Image-level input is
not augmented, so an epoch never needs the encoder.

Heads of one shape (encoders x seeds) train as one batched problem. On CPU each head's bits are the same whatever
other heads share its batch (tests/probes/test_gradient.py), so a resumed run equals an undisturbed one. Matrix libraries
choose their kernels by the alignment of what they are given, so every head's slice is kept aligned: features are padded
with zeros to whole cache lines, and the last, partial batch with examples of weight zero. For the same reason heads train
on one core, whatever their size and however many cores there are; tasks train side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from virb.errors import TrainingError
from virb.mapped import Rows
from virb.task import Protocol
from virb.threads import one_thread

# Beyond this many parameters a batched step is bound by memory, and one head at a time is faster.
MAX_STACKED_PARAMETERS = 1_000_000
# Features of a group of heads up to this size are stacked in memory; larger ones are read from their files batch by
# batch, with the same bits; a small head's step is then longer. A GPU would wait for them, so there a group is what fits.
MAX_STACKED_BYTES = 64 << 20
MAX_STACKED_BYTES_ON_GPU = 1 << 30
BLOCK_BYTES = 8 << 20
FLOATS_A_CACHE_LINE = 16


def train_heads(
    build: Callable[[int], nn.Module],
    features: Sequence[np.ndarray],
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    seeds: Sequence[int],
    protocol: Protocol,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[nn.Module]:
    """Train one head for each pair of ``features[k]`` and ``seeds[k]``, by cross-entropy.

    Args:
        build: returns a freshly initialised head for a seed; it maps (B, D), or (B, F, D) for F > 1, to (B, K).
        features: embeddings of the images, float32 (M, D), all of one D.
        frames: int (N, F), the images of each example as rows of the features.
        targets: int (N,), the classes.
        seeds: of the initial weights and of the order of the examples.
        progress: called as ``progress(done, total)`` in epochs.

    Returns:
        The trained heads, in evaluation mode, on the CPU.

    Raises:
        TrainingError: a loss was not finite.
    """
    heads = [build(seed) for seed in seeds]
    n_parameters = sum(p.numel() for p in heads[0].parameters())
    n_bytes = _stacked_shape(features[0], frames).numel() * 4
    group = min(len(heads), MAX_STACKED_PARAMETERS // max(1, n_parameters))
    if torch.device(device).type != "cpu" and n_bytes <= MAX_STACKED_BYTES_ON_GPU:
        group = min(group, MAX_STACKED_BYTES_ON_GPU // max(1, n_bytes))
    group = max(1, group)
    n_groups = -(-len(heads) // group)
    for k in range(n_groups):
        part = slice(k * group, (k + 1) * group)

        def tick(done: int, total: int, k: int = k) -> None:
            if progress is not None:
                progress(k * total + done, n_groups * total)

        with one_thread():
            _train_together(
                heads[part], features[part], frames, targets, seeds[part], protocol, torch.device(device), tick
            )
    return heads


def _train_together(
    heads: Sequence[nn.Module],
    features: Sequence[np.ndarray],
    frames: np.ndarray,
    targets: np.ndarray,
    seeds: Sequence[int],
    protocol: Protocol,
    device: torch.device,
    tick: Callable[[int, int], None],
) -> None:
    n = len(frames)
    for head in heads:
        head.train()
    stacked, buffers = stack_module_state(list(heads))
    dim = features[0].shape[1]
    padding = -dim % FLOATS_A_CACHE_LINE
    weights = {
        key: nn.functional.pad(value.detach(), (0, padding if value.shape[-1] == dim else 0))
        .to(device)
        .requires_grad_()
        for key, value in stacked.items()
    }
    buffers = {key: value.to(device) for key, value in buffers.items()}
    forward = _batched(heads[0])
    optimizer = make_optimizer(list(weights.values()), protocol)
    read = _reader(features, frames, device)
    labels = torch.from_numpy(np.ascontiguousarray(targets)).long().to(device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    total_loss = torch.zeros(len(heads), device=device)
    size = min(protocol.batch_size, n)
    for epoch in range(protocol.epochs):
        order = torch.stack([torch.randperm(n, generator=generator) for generator in generators]).to(device)
        total_loss.zero_()
        for start in range(0, n, size):
            count = min(size, n - start)
            chosen = order[:, start : start + size]  # (H, B): each head has its own order
            chosen = torch.cat([chosen, chosen[:, :1].expand(-1, size - count)], dim=1)
            logits = forward(weights, buffers, read(chosen))
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[chosen].flatten(), reduction="none")
            loss = loss.view(chosen.shape)[:, :count].sum(dim=1) / count
            optimizer.zero_grad()
            loss.sum().backward()  # heads do not share weights, so the sum's gradient is each one's own
            optimizer.step()
            total_loss += loss.detach()
        if not bool(torch.isfinite(total_loss).all()):
            bad = [int(k) for k in torch.nonzero(~torch.isfinite(total_loss)).flatten()]
            raise TrainingError(
                f"The loss of {len(bad)} of {len(heads)} heads was not finite in epoch {epoch + 1} of {protocol.epochs} "
                f"(lr {protocol.lr}); seeds {sorted({seeds[k] for k in bad})}. Lower the learning rate."
            )
        tick(epoch + 1, protocol.epochs)
    for k, head in enumerate(heads):
        shapes = {key: value.shape for key, value in head.state_dict().items()}
        trained = {key: value[k].detach().cpu() for key, value in {**weights, **buffers}.items()}
        head.load_state_dict({key: value[..., : shapes[key][-1]] for key, value in trained.items()})
        head.eval()


def _batched(head: nn.Module) -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]:
    """Return ``head`` as a function of the stacked weights and buffers of H heads and their inputs (H, B, ...)."""
    if isinstance(head, nn.Linear):
        # Weights before features, so that their gradient is one product (K, B) x (B, D): for few classes several times
        # faster than the (D, B) x (B, K) that vmap's gradient takes.
        def linear(weights: Mapping[str, Tensor], _: Mapping[str, Tensor], x: Tensor) -> Tensor:
            return torch.baddbmm(weights["bias"][:, :, None], weights["weight"], x.transpose(1, 2)).transpose(1, 2)

        return linear

    def one(weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(head, (dict(weights), dict(buffers)), (x,))

    return torch.func.vmap(one)


def _stacked_shape(features: np.ndarray, frames: np.ndarray) -> torch.Size:
    """Return the shape of the examples' embeddings: (N, D) for one frame, (N, F, D) for more, D padded."""
    dim = features.shape[1] + -features.shape[1] % FLOATS_A_CACHE_LINE
    return torch.Size((*(frames.shape if frames.shape[1] > 1 else frames.shape[:1]), dim))


def _reader(features: Sequence[np.ndarray], frames: np.ndarray, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from examples (H, B) to their embeddings (H, B, D) or (H, B, F, D), padded with zeros.

    The examples of all heads are kept in memory, on the device, if they fit into the budget; else every batch is read
    from the arrays, which may be mapped files far larger than the memory.
    """
    shape = _stacked_shape(features[0], frames)
    row_bytes = shape[1:].numel() * 4
    budget = MAX_STACKED_BYTES if device.type == "cpu" else MAX_STACKED_BYTES_ON_GPU
    if len(features) * shape.numel() * 4 <= budget:
        inputs = torch.zeros((len(features), *shape), device=device)
        step = max(1, BLOCK_BYTES // row_bytes)
        for k, source in enumerate(map(Rows, features)):
            for start in range(0, len(frames), step):
                block = _gather(source, frames[start : start + step])
                inputs[k, start : start + step, ..., : block.shape[-1]] = block.to(device)
        rows = inputs.flatten(0, 1)
        first = len(frames) * torch.arange(len(features), device=device)[:, None]
        return lambda chosen: rows.index_select(0, (chosen + first).flatten()).view(*chosen.shape, *shape[1:])

    sources = [Rows(array) for array in features]
    dim = features[0].shape[1]
    batch = torch.empty(0)  # one buffer for all steps: new memory would have to be zeroed every time

    def read(chosen: Tensor) -> Tensor:
        nonlocal batch
        if batch.shape[:2] != chosen.shape:
            batch = torch.zeros((*chosen.shape, *shape[1:]))
        for source, examples, rows in zip(sources, chosen.cpu().numpy(), batch.numpy(), strict=True):
            wanted = frames[examples] if frames.shape[1] > 1 else frames[examples, 0]
            if rows.shape[-1] == dim and rows.dtype == source.array.dtype:
                source.take_into(wanted.reshape(-1), rows.reshape(-1, dim))
            else:
                rows[..., :dim] = source.take(wanted)
        return batch.to(device)

    return read


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


class Adam:
    """Adam (Kingma and Ba 2015, Algorithm 1; beta 0.9 and 0.999, epsilon 1e-8) with the bits of ``torch.optim.Adam``.

    That class's bookkeeping takes longer than the arithmetic on a small head's weights. Its fused kernel is not used
    either: it treats the last elements of a tensor otherwise, so a head's bits would depend on how many others are
    stacked with it.
    """

    def __init__(self, parameters: Sequence[Tensor], *, lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self._step = 0

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient; all must have had one in every step, or none."""
        self._step += 1
        size = self.lr / (1 - 0.9**self._step)
        correction = (1 - 0.999**self._step) ** 0.5
        for parameter, (mean, square) in zip(self.parameters, self._moments, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue
            mean.lerp_(gradient, 1 - 0.9)
            square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
            parameter.addcdiv_(mean, (square.sqrt() / correction).add_(1e-8), value=-size)


def make_optimizer(parameters: Sequence[Tensor], protocol: Protocol) -> Adam | torch.optim.Optimizer:
    """Return the protocol's optimiser: Adam, or SGD with momentum 0.9 (the two of Appendix C's grid)."""
    if protocol.optimizer == "adam":
        # On a GPU torch's own takes all tensors in one kernel, which is what counts there.
        is_on_cpu = all(p.device.type == "cpu" for p in parameters)
        return Adam(parameters, lr=protocol.lr) if is_on_cpu else torch.optim.Adam(parameters, lr=protocol.lr)
    return torch.optim.SGD(parameters, lr=protocol.lr, momentum=0.9)


def _gather(source: Rows, frames: np.ndarray) -> Tensor:
    """Return the examples' embeddings: (N, D) for one frame, (N, F, D) for more."""
    return torch.from_numpy(source.take(frames if frames.shape[1] > 1 else frames[:, 0])).float()
