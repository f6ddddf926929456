"""A simulated GPU: tensors that say they are on "cuda:0", compute on the CPU, and have their traffic counted.

    with simulated_gpu() as gpu:
        with gpu.region("step"):
            ...                                     # device="cuda", .to("cuda"), torch.autocast("cuda"), ...
        gpu.assert_at_most("step", syncs=2, h2d=1)  # a budget

A tensor subclass holds a CPU tensor and handles each operation below autograd. To PyTorch's C++ it is of a backend
registered from Python (PrivateUse1), and only Python reads ``.device`` as cuda:0; ``torch.cuda`` and its like are
replaced while it is open. Not simulated: time, streams (everything happens at once), CUDA graphs, torch.compile, more than
one device, other processes, and a GPU's own rounding (its numbers are the CPU's).
"""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from simulated_gpu import generators, stand_ins
from simulated_gpu.autocast import FULL_PRECISION, LOW_PRECISION, Autocast, casting
from simulated_gpu.counters import SimulatedGPU, current
from simulated_gpu.tensors import NAME, SimTensor, call

aten = torch.ops.aten


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return bool(current)

    def has_primary_context(self, device_index: int) -> bool:
        return True

    def is_built(self) -> bool:
        return True


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.PrivateUse1


_backend: list[Any] = []


def _register() -> None:
    """Tell PyTorch of the backend; once in a process, and it stays (as not available)."""
    if not _backend:
        torch.utils.rename_privateuse1_backend(NAME)
        module = types.ModuleType(NAME)
        module.__dict__.update(
            is_initialized=lambda: True, is_available=lambda: bool(current), current_device=lambda: 0, device_count=lambda: 1,
            _is_in_bad_fork=lambda: False, manual_seed_all=lambda seed: None,
            get_amp_supported_dtype=lambda: [torch.float16, torch.bfloat16],
        )  # fmt: skip
        torch._register_device_module(NAME, module)
        others = torch.library.Library("_", "IMPL")  # what autocast does not name passes as it is
        others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
        _backend.extend((_Hooks(), _Guard(), others))
        torch._C._acc.register_python_privateuseone_hook(_backend[0])
        torch._C._acc.register_python_privateuseone_device_guard(_backend[1])
        torch._C._ensureCUDADeviceGuardSet()


def _kernels() -> torch.library.Library:
    """Register what makes a device tensor from nothing, and autocast; all else reaches SimTensor by its Python key."""
    library = torch.library.Library("aten", "IMPL")

    def made(function: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> SimTensor:
            if current:
                current[0].add("ops", "empty")
            return SimTensor(
                function(*args, **{k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}, device="cpu")
            )

        return make

    def copy(into: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> Any:
        return call(aten.copy_.default, (into, source, non_blocking), {})

    makers = ("empty.memory_format", "empty_strided.default", "tril_indices.default", "triu_indices.default")
    for key in ("CUDA", "PrivateUse1"):
        library.impl("copy_", copy, key, allow_override=True)
        for name in makers:
            packet, _, overload = name.partition(".")
            function = made(getattr(getattr(aten, packet), overload))
            library.impl(name.removesuffix(".default"), function, key, allow_override=True)
    for names, is_low in ((LOW_PRECISION, True), (FULL_PRECISION, False)):
        for name in names.split():
            packet, _, overload = name.partition(".")
            library.impl(
                name, casting(getattr(getattr(aten, packet), overload or "default"), is_low), "AutocastPrivateUse1"
            )
    return library


def _in_this_thread(run: Any) -> Any:
    """Backward passes in the thread that asks for them: so they have a stack, and need no thread of the device."""

    def run_here(*args: Any, **kwargs: Any) -> Any:
        with torch.autograd.set_multithreading_enabled(False):
            return run(*args, **kwargs)

    return run_here


def _attention(original: Any) -> Any:
    """Attention of device tensors by its plain formula; the choice of a fused kernel would ask the driver."""

    def attention(query: Any, *args: Any, **kwargs: Any) -> Any:
        is_ours = isinstance(query, SimTensor)
        return (
            aten._scaled_dot_product_attention_math(query, *args, **kwargs)[0]
            if is_ours
            else original(query, *args, **kwargs)
        )

    return attention


@contextlib.contextmanager
def simulated_gpu() -> Iterator[SimulatedGPU]:
    """Give this process one simulated GPU."""
    if current or torch.cuda.is_available():
        raise RuntimeError("there is a GPU here already; hide a real one (CUDA_VISIBLE_DEVICES=) to simulate one")
    from torch import _dynamo  # noqa: F401  optimisers import it; it looks at torch.cuda's functions while it is imported
    from torch.optim import optimizer

    _register()
    gpu = SimulatedGPU()
    functional = torch.nn.functional
    with contextlib.ExitStack() as stack:

        def put(owner: Any, **values: Any) -> None:
            for name, value in values.items():
                had, old = name in vars(owner), getattr(owner, name, None)
                setattr(owner, name, value)
                stack.callback(setattr, owner, name, old) if had else stack.callback(delattr, owner, name)

        put(torch.cuda, **stand_ins.functions(gpu))
        put(
            torch.Tensor,
            pin_memory=generators.pin_memory_of,
            is_pinned=generators.is_pinned,
            record_stream=lambda self, stream: None,
        )
        put(torch, empty=generators.pinning(torch.empty), Generator=generators.GeneratorFactory, autocast=Autocast)
        put(torch.amp, autocast=Autocast)
        put(torch.accelerator, is_available=lambda: True, set_device_index=lambda *_: None,
            current_accelerator=lambda *_, **__: torch.device("cuda"))  # fmt: skip
        put(functional, scaled_dot_product_attention=_attention(functional.scaled_dot_product_attention))
        for owner in (torch.autograd, torch.autograd.graph):
            put(owner, _engine_run_backward=_in_this_thread(owner._engine_run_backward))
        swap = torch.__future__.set_swap_module_params_on_conversion  # a parameter stays the same object when it moves
        stack.callback(swap, torch.__future__.get_swap_module_params_on_conversion())
        swap(True)
        optimizer._foreach_supported_types.append(SimTensor)
        stack.callback(optimizer._foreach_supported_types.remove, SimTensor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a kernel is overridden
            stack.callback(_kernels()._destroy)
        current.append(gpu)
        try:
            yield gpu
        finally:
            current.clear()
