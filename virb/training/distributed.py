"""Several processes that train one network, each on its slice of every batch, as if one process had the whole batch.

`torchrun` starts them; ``processes`` joins them. What needs the whole batch asks for it here: ``gather`` and ``mean`` have
gradients, so that the mean over the processes of the parameters' gradients is the gradient of the loss of the whole
batch, provided every process returns either that loss itself or its own slice's share of a mean. With a single process
every function returns what it is given.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from virb.errors import UsageError, VirbError
from virb.system import devices
from virb.training.precision import widen

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=10)  # of a wait within an update; longer means that a process is lost
PREPARATION_TIMEOUT = timedelta(days=1)  # while one process decodes a data set
_control: Any = None  # the processes' group for Python objects, over gloo whatever the device


# ------------------------------------------------------------------------------------------------------ who is who


def world_size() -> int:
    """Return how many processes train together; 1 where there is no group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, 0 to ``world_size() - 1``; number 0 writes the files and talks."""
    return dist.get_rank() if world_size() > 1 else 0


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else 0


@contextlib.contextmanager
def processes() -> Iterator[None]:
    """Join the processes that `torchrun` started, for the block; without torchrun, or within such a block, do nothing.

    Tensors on the CPU travel over gloo, those on GPUs over NCCL.

    Raises:
        VirbError: the others cannot be reached.
    """
    global _control
    launched = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    if not launched or int(os.environ["WORLD_SIZE"]) == 1 or world_size() > 1:
        yield
        return
    if not dist.is_available():
        raise UsageError("This PyTorch was built without torch.distributed; train with one process.")
    has_cuda = torch.cuda.is_available()
    if has_cuda and int(os.environ.get("LOCAL_RANK", "0")) < torch.cuda.device_count():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_cuda else "gloo", timeout=STEP_TIMEOUT)
        _control = dist.new_group(backend="gloo", timeout=PREPARATION_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise VirbError(
            f"Process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} cannot join the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {error}"
        ) from error
    yield
    # After an error nothing is torn down: others may be waiting, and learn of it when this process ends.
    _control = None
    dist.destroy_process_group()


def own_device(name: str) -> str:
    """Return the device ``name`` ("auto", "cpu", "cuda") as this process's own: with several, "cuda:LOCAL_RANK".

    Raises:
        UsageError: a GPU is named by number although there are several processes, or there are fewer GPUs.
    """
    if world_size() == 1 or name == "cpu":
        return name
    if name == "auto" and not torch.cuda.is_available():
        return "cpu"
    if name not in ("auto", "cuda"):
        raise UsageError(
            f"--device {name} would put all {world_size()} processes on one device; pass cuda (each its own) or cpu."
        )
    if _local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"Process {_local_rank()} of this machine has no GPU of its own: there are {torch.cuda.device_count()}. Pass "
            "that many to torchrun as --nproc-per-node, or --device cpu."
        )
    return f"cuda:{_local_rank()}"


# --------------------------------------------------------------------------------------------------- tensors of all


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        whole = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole.chunk(world_size())[rank()]


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _Mean.forward(ctx, grads[0])


def gather(x: Tensor) -> Tensor:
    """Return the rows (n, ...) of all processes, in their order: (world_size * n, ...), with gradient.

    A gradient that reaches the rows is the sum over what all processes did with them. Half precision is gathered as
    float32, in which the losses compute. Every process must bring as many rows.
    """
    if world_size() == 1:
        return x
    return _Gather.apply(widen(x).contiguous())


def mean(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over the processes, with gradient."""
    return x if world_size() == 1 else _Mean.apply(x)


@torch.no_grad()
def first(x: Tensor) -> Tensor:
    """Return process 0's ``x`` on all; for what is drawn at random and must be the same everywhere. No gradient."""
    if world_size() == 1:
        return x
    x = x.clone(memory_format=torch.contiguous_format)
    dist.broadcast(x, src=0)
    return x


def own_rows(x: Tensor, dim: int = 0) -> Tensor:
    """Return this process's slice of ``x`` along ``dim``: the inverse of ``gather``."""
    return x if world_size() == 1 else x.chunk(world_size(), dim)[rank()]


def sinkhorn_reduce(column_sums: Tensor) -> Tensor:
    """Add up the processes' column sums (1, K), all given and returned as logarithms: ``losses.sinkhorn``'s ``reduce``."""
    return column_sums if world_size() == 1 else gather(column_sums).logsumexp(dim=0, keepdim=True)


class Shuffle:
    """A permutation of the whole batch across processes: MoCo's shuffling batch normalisation.

    He et al. 2020, Section 3.3: keys are computed in groups other than their queries', so that the statistics of a
    group do not tell which key belongs to which query.
    """

    def __init__(self, n: int, device: torch.device, groups: int = 1) -> None:
        """Draw for ``n`` rows a process, in ``groups``; if there is one group in all, nothing is shuffled."""
        self.order: Tensor | None = None
        if world_size() * groups > 1:
            self.order = first(devices.upload(torch.randperm(n * world_size()), device))

    @torch.no_grad()
    def mix(self, x: Tensor) -> Tensor:
        """Return this process's slice of the permuted whole of ``x`` (n, ...)."""
        return x if self.order is None else gather(x)[own_rows(self.order)]

    @torch.no_grad()
    def restore(self, x: Tensor) -> Tensor:
        """Return from the permuted slices the rows that belong to this process: the inverse of ``mix``."""
        return x if self.order is None else gather(x)[own_rows(self.order.argsort())]


# -------------------------------------------------------------------------------------------------- Python objects


def shared(error: VirbError) -> VirbError:
    """Mark an ``error`` that all processes raise: one of them should tell it."""
    error.is_shared = True  # type: ignore[attr-defined]
    return error


def is_shared(error: VirbError) -> bool:
    """Whether all processes raise ``error``."""
    return getattr(error, "is_shared", False)


def together(do: Callable[[], T]) -> T:
    """Return ``do()``, computed on every process; if it fails on any, all raise the first such error.

    ``do`` must not wait for other processes.

    Raises:
        VirbError: ``do`` raised it on some process.
    """
    if world_size() == 1:
        return do()
    result, error = None, None
    try:
        result = do()
    except VirbError as raised:
        error = raised
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, None if error is None else (type(error), str(error)), group=_control)
    for number, failure in enumerate(found):
        if failure is not None:
            if number == rank() and error is not None:
                raise shared(error)
            raise shared(failure[0](failure[1]))
    return result  # type: ignore[return-value]


def by_first(do: Callable[[], T]) -> T:
    """Return on all processes what ``do()`` returns on process 0, where alone it runs; errors as in ``together``."""
    if world_size() == 1:
        return do()
    found = [together(lambda: do() if rank() == 0 else None)]
    dist.broadcast_object_list(found, src=0, group=_control)
    return found[0]  # type: ignore[return-value]


def machine_by_machine(do: Callable[[], T]) -> T:
    """Return ``do()``, run first by one process of every machine, then by the others, which find what it has cached."""
    if world_size() == 1:
        return do()
    is_first = _local_rank() == 0
    one = together(lambda: do() if is_first else None)
    rest = together(lambda: None if is_first else do())
    return one if is_first else rest  # type: ignore[return-value]


def flag(value: bool) -> bool:
    """Return process 0's ``value`` on all."""
    return value if world_size() == 1 else bool(first(torch.tensor(value, dtype=torch.uint8)))


def mean_number(value: Tensor | float) -> Tensor | float:
    """Return the mean of a number over the processes, equal on all: on the device where it is there, and in float64."""
    if world_size() == 1:
        return value.detach().double() if isinstance(value, Tensor) else float(value)
    return mean(torch.as_tensor(value).detach().double())


def check_same(value: str, what: str) -> None:
    """Refuse to go on when ``value`` is not the same on all processes.

    Raises:
        UsageError: it is not.
    """
    if world_size() == 1:
        return
    values: list[str] = [""] * world_size()
    dist.all_gather_object(values, value, group=_control)
    other = [k for k, v in enumerate(values) if v != values[0]]
    if other:
        raise shared(
            UsageError(
                f"Process {other[0]} has another {what} than process 0. Give all machines the same command, the same "
                "files and the same version of virb."
            )
        )


def wait_for_the_end() -> None:
    """Wait, after an error that process 0 tells, until that has ended: torchrun ends all as soon as one has failed."""
    with contextlib.suppress(RuntimeError):
        dist.barrier(group=_control)


def averaging(module: nn.Module) -> Any:
    """Return ``module`` wrapped so that gradients are averaged over the processes while the backward pass runs.

    All start from process 0's parameters and buffers. Later the buffers are left alone: they are the same on all, or
    mean to differ.
    """
    if world_size() == 1:
        return module
    kind = nn.parallel.DistributedDataParallel
    renamed = "forward_sync_buffers" in inspect.signature(kind.__init__).parameters  # newer PyTorch
    return kind(module, **{"forward_sync_buffers" if renamed else "broadcast_buffers": False})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- batch normalisation


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of all processes' rows, on any device; ``nn.SyncBatchNorm`` needs GPUs.

    Equal to ``nn.BatchNorm1d`` or ``2d`` on the whole batch, gradients and running statistics included. Every process
    must bring as many rows.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"SyncBatchNorm: expected (N, C, ...); found {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        axes = [a for a in range(input.ndim) if a != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        x = widen(input)
        centre = mean(x.mean(dim=axes))
        x = x - centre.view(shape)
        variance = mean(x.square().mean(dim=axes))
        if self.track_running_stats:
            self._follow(centre.detach(), variance.detach(), world_size() * input.numel() // input.shape[1])
        x = x * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)

    @torch.no_grad()
    def _follow(self, centre: Tensor, variance: Tensor, n: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(centre, share)
        self.running_var.lerp_(variance * (n / max(n - 1, 1)), share)


def synchronise_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation in ``module`` use the statistics of all processes; parameters and names stay.

    On GPUs it becomes ``nn.SyncBatchNorm``, elsewhere ours.

    Raises:
        UsageError: there is a kind that is more than a batch normalisation.
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            kind = nn.SyncBatchNorm if device.type == "cuda" else SyncBatchNorm
            new = kind(
                child.num_features,
                eps=child.eps,
                momentum=child.momentum,
                affine=child.affine,
                track_running_stats=child.track_running_stats,
            )
            # The very tensors: an optimiser or a momentum network may hold them already.
            new._parameters, new._buffers = child._parameters, child._buffers
            new.train(child.training)
            setattr(module, name, new)
        elif isinstance(child, _BatchNorm) and not isinstance(child, (SyncBatchNorm, nn.SyncBatchNorm)):
            raise UsageError(
                f"{type(child).__name__} cannot be synchronised across processes; train this network with one process."
            )
        else:
            synchronise_batch_norm(child, device)
