"""Where work runs and how precisely: the device that a name stands for, and whether float32 means TF32 there."""

from __future__ import annotations

import contextlib
import gc
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from virb.errors import UsageError, option

if TYPE_CHECKING:
    import numpy as np
    import torch

_n_choices = 0  # tf32 blocks that are open: the setting is the process's, and so is this
DTYPES = ("fp32", "tf32", "bf16", "fp16")


def resolve(name: str | torch.device) -> torch.device:
    """Return the device for ``name``; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises:
        UsageError: no such device here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"{option('device', name)} cannot be used here: {str(error).splitlines()[0]} Use cpu, or auto to take what there is."
        ) from error
    return device


def torch_dtype(name: str) -> torch.dtype:
    """Return the type of the tensors under ``name`` of :data:`DTYPES`; TF32 computes on float32 tensors.

    Raises:
        UsageError: there is no such name.
    """
    import torch

    known = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name not in known:
        raise UsageError(f"Unknown dtype {name!r}; expected one of {', '.join(DTYPES)}.")
    return known[name]


def check_compiler(device: torch.device) -> None:
    """Raise UsageError if torch.compile cannot make a program for ``device`` here."""
    import torch

    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{option('compile')}: PyTorch cannot compile for {device.type} here: {reason}. It needs a C++ compiler (on GPUs "
            f"Triton); install it, or leave {option('compile')} out."
        ) from error


@contextlib.contextmanager
def tf32(is_allowed: bool) -> Iterator[None]:
    """Let a GPU round the factors of float32 products and convolutions to TF32 (10 bits) in the block, or not.

    PyTorch's default is to do so in convolutions alone. The setting is the process's; CPUs do not know it.
    """
    import torch

    # A user may have chosen by the newer settings, which must not be mixed with the older ones.
    places = [(torch.backends.cudnn, "allow_tf32"), (torch.backends.cuda.matmul, "allow_tf32")]
    wanted: Any = is_allowed
    try:
        before = [getattr(place, name) for place, name in places]
    except RuntimeError:
        cudnn: Any = torch.backends.cudnn
        places = [(cudnn.conv, "fp32_precision"), (torch.backends.cuda.matmul, "fp32_precision")]
        wanted = "tf32" if is_allowed else "ieee"
        before = [getattr(place, name) for place, name in places]
    global _n_choices
    try:
        for place, name in places:
            setattr(place, name, wanted)
        _n_choices += 1
        yield
    finally:
        _n_choices -= 1
        for (place, name), value in zip(places, before, strict=True):
            setattr(place, name, value)


def fp32_unless_chosen(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Keep float32 from being TF32 on a GPU, unless a :func:`tf32` block around the caller has chosen.

    For what people call directly: an encoder's embedding in fp32 is then the CPU's to about 1e-6 of its spread, and not
    to 1e-2 as under PyTorch's default.
    """
    return tf32(False) if device.type == "cuda" and not _n_choices else contextlib.nullcontext()


def sound_bf16(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Keep oneDNN out of training in bf16 on a CPU, where its weight gradients can be anything.

    On processors with AVX-512's bf16, torch 2.15's convolution of one-pixel maps (stride 2, padding 1) reads memory that
    nobody wrote: gradients differ from run to run or are NaN (tests/system/test_devices.py has the convolution).
    """
    import torch

    if device.type != "cpu" or precision != "bf16":
        return contextlib.nullcontext()
    return torch.backends.mkldnn.flags(enabled=False)


def is_tf32_allowed() -> bool:
    """Whether products and convolutions of float32 may use TF32 now, if this were a GPU."""
    import torch

    try:
        return bool(torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:
        cudnn: Any = torch.backends.cudnn
        places = (cudnn.conv, torch.backends.cuda.matmul)
        return all(place.fp32_precision == "tf32" for place in places)


def precision(device: torch.device, dtype: torch.dtype) -> str:
    """Return what of :data:`DTYPES` a computation in ``dtype`` on ``device`` is at present."""
    name = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(str(dtype).rpartition(".")[2], str(dtype))
    return "tf32" if name == "fp32" and device.type == "cuda" and is_tf32_allowed() else name


def describe(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return what a record says of where a network ran: the device, its name, the type and whether TF32 was used."""
    import torch

    is_gpu = device.type == "cuda"
    return {
        "device": str(device),
        "hardware": torch.cuda.get_device_name(device) if is_gpu else platform.processor() or platform.machine(),
        "dtype": precision(device, dtype),
        "tf32": is_gpu and is_tf32_allowed(),
    }


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device (not the machine) had too little memory."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)


def free_memory(device: torch.device) -> None:
    """Give back what nobody holds on ``device``; after an error of memory, once its traceback is gone."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Return how much memory of a GPU can be had: what the card has free, and what this process has reserved and not used."""
    import torch

    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + max(0, reserved))


def upload(values: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return host ``values`` on ``device``; a GPU copies them, from pinned memory, while the host goes on."""
    import torch

    if torch.device(device).type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Return ``values`` as a float32 tensor on ``device``, uploaded once a process; never write into it."""
    key = (values, str(device))
    if key not in _CONSTANTS:
        import torch

        with torch.inference_mode(False):
            _CONSTANTS[key] = torch.tensor(values, device=device)
    return _CONSTANTS[key]


_CONSTANTS: dict[tuple[tuple[float, ...], str], torch.Tensor] = {}


def download(tensors: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Return ``tensors`` of one device on the host; a GPU copies them to pinned memory beside what it computes next."""
    import torch

    if not tensors or tensors[0].device.type != "cuda":
        return [tensor.cpu().numpy() for tensor in tensors]
    device = tensors[0].device
    if device not in _COPIES:
        _COPIES[device] = torch.cuda.Stream(device)
    ready, stream = [tensor.contiguous() for tensor in tensors], _COPIES[device]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        there = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in ready]
        for host, tensor in zip(there, ready, strict=True):
            host.copy_(tensor, non_blocking=True)
            tensor.record_stream(stream)
        done = stream.record_event()
    done.synchronize()
    return [host.numpy() for host in there]


_COPIES: dict[torch.device, torch.cuda.Stream] = {}
