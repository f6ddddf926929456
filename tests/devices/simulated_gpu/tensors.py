"""Tensors that say "cuda:0", compute on the CPU, refuse to mix with CPU tensors, and have their traffic counted."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from simulated_gpu import generators
from simulated_gpu.counters import SimulatedGPU, current
from simulated_gpu.generators import CUDA

NAME = "simgpu"


class SimTensor(torch.Tensor):
    """A tensor that says "cuda:0", and is of a backend of our own to PyTorch's C++ (its CUDA hooks want a driver).

    Its values are in the CPU tensor ``_element``, which has its sizes and strides.
    """

    _element: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, element: torch.Tensor) -> SimTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls, element.size(), strides=element.stride(), storage_offset=element.storage_offset(),
            dtype=element.dtype, layout=element.layout, device=torch.device(NAME, 0), requires_grad=False,
        )  # fmt: skip
        self._element = element
        if current:
            current[0].hold(element)
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return call(func, args, kwargs or {})

    def __repr__(self) -> str:
        return f"SimTensor({self._element}, device='cuda:0', requires_grad={self.requires_grad})"

    def __deepcopy__(self, memo: dict) -> SimTensor:
        if id(self) not in memo:
            memo[id(self)] = self.detach().clone().requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                memo[id(self)]._is_param = True
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:  # what is saved is read back as a tensor on the CPU
        return self.detach().cpu().__reduce_ex__(protocol)

    def untyped_storage(self) -> Any:
        return self._element.untyped_storage()

    def data_ptr(self) -> int:
        return self._element.data_ptr()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def to(self, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        device = None if device is not None and is_here(device) else device
        return super().to(device, dtype, non_blocking, copy, memory_format=memory_format or torch.preserve_format)

    def cuda(self, device: Any = None, non_blocking: bool = False, **_: Any) -> torch.Tensor:
        return self.to(CUDA if device is None else device)

    def _set_data(self, new: torch.Tensor) -> None:
        if not isinstance(new, SimTensor):
            raise RuntimeError("the simulated device cannot point a device tensor's .data at a CPU tensor")
        torch._C.TensorBase.data.__set__(self, new)
        self._element = new._element

    data = property(lambda self: torch._C.TensorBase.data.__get__(self), _set_data)  # type: ignore[assignment]


def is_here(device: Any) -> bool:
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type == "cuda" and device.index:
        raise RuntimeError(f"CUDA error: invalid device ordinal ({device}; one GPU is simulated)")
    return device.type in ("cuda", NAME)


def mapped(function: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    return type(value)(mapped(function, v) for v in value) if type(value) in (list, tuple) else value


def _bare(t: torch.Tensor) -> torch.Tensor:
    return t._element if isinstance(t, SimTensor) else t


# Operations whose output's size, or answer, is only known on the device.
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "repeat_interleave",
    "bincount",
    "_linalg_check_errors",
    "histc",
}
NO_WORK = {
    "empty",
    "empty_strided",
    "empty_like",
    "new_empty",
    "new_empty_strided",
    "lift_fresh",
    "detach",
    "_local_scalar_dense",
}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
MIXES = {"copy_", "_to_copy", "_foreach_copy_", *INDEXED}
SCALARS = {"fill_", "masked_fill", "masked_fill_", "where"}  # take a CPU scalar, as all that is pointwise does
FLOAT_ONLY = {"mm", "bmm", "addmm", "baddbmm", "addmv", "mv"}  # CUDA has no kernel for integers
NO_BYTES = ("upsample_bi", "_upsample_bi", "convolution")  # nor for uint8
_facts: dict[Any, tuple[str, bool, bool, bool, bool]] = {}


def _fact(func: Any) -> tuple[str, bool, bool, bool, bool]:
    """(name, is a view, is pointwise, changes an argument, draws random numbers) of an operation."""
    if func not in _facts:
        schema = func._schema
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        draws = any(a.name == "generator" for a in schema.arguments)
        name = schema.name.partition("::")[2]
        _facts[func] = (name, is_view, torch.Tag.pointwise in func.tags, schema.is_mutable, draws)
    return _facts[func]


def call(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation that has at least one device tensor."""
    name, is_view, is_pointwise, is_mutable, draws = _fact(func)
    gpu, kwargs = current[0] if current else SimulatedGPU(), dict(kwargs)
    sims: dict[int, SimTensor] = {}
    hosts: list[torch.Tensor] = []
    mapped(lambda t: sims.__setitem__(id(t._element), t) if isinstance(t, SimTensor) else hosts.append(t),
         [*args, *kwargs.values()])  # fmt: skip
    if name == "_has_compatible_shallow_copy_type":  # asked by Module.to
        return not hosts
    gpu.add("ops", name)
    if name in ("copy_", "_foreach_copy_"):
        pairs = [args[:2]] if name == "copy_" else zip(args[0], args[1], strict=True)
        for into, source in pairs:
            _copy(gpu, into, source, args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        return args[0] if name == "copy_" else None
    stays = kwargs.get("device") is None or is_here(kwargs["device"])
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    if name == "_to_copy" and not stays:
        size = (kwargs.get("dtype") or args[0].dtype).itemsize
        is_async = kwargs.get("non_blocking", False)
        gpu.copy("d2h", args[0].numel(), args[0].itemsize, size, pinned=False, non_blocking=is_async)
        return func(args[0]._element, **kwargs)
    _refuse(name, is_pointwise, sims, hosts)
    if draws:
        if kwargs.get("generator") is not None and kwargs["generator"]._cdata not in generators.ours:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        kwargs["generator"] = kwargs.get("generator") or generators.default()
    if name in INDEXED:
        _count_indices(gpu, name, args)
    gpu.add("syncs", name, name in WAITS and kwargs.get("output_size") is None)
    gpu.add("launches", name, not is_view and name not in NO_WORK)
    out = func(*mapped(_bare, args), **{k: mapped(_bare, v) for k, v in kwargs.items()})
    for sim in sims.values() if is_mutable else ():
        if sim.shape != sim._element.shape or sim.stride() != sim._element.stride():
            torch._C.TensorBase.data.__set__(sim, SimTensor(sim._element))
    if not stays:
        return out
    # A view of a tensor from outside of inference mode is no inference tensor.
    is_plain = is_view and torch.is_inference_mode_enabled() and not any(s.is_inference() for s in sims.values())
    with torch.inference_mode(False) if is_plain else contextlib.nullcontext():
        return mapped(lambda t: sims[id(t)] if id(t) in sims else SimTensor(t), out)


def _copy(gpu: SimulatedGPU, into: torch.Tensor, source: torch.Tensor, non_blocking: bool) -> None:
    if isinstance(into, SimTensor) == isinstance(source, SimTensor):
        gpu.add("launches", "copy_")
    else:
        kind, host = ("h2d", source) if isinstance(into, SimTensor) else ("d2h", into)
        gpu.copy(
            kind,
            into.numel(),
            source.itemsize,
            into.itemsize,
            pinned=generators.is_pinned(host),
            non_blocking=non_blocking,
        )
    _bare(into).copy_(_bare(source))


def _refuse(name: str, is_pointwise: bool, sims: dict[int, SimTensor], hosts: list[torch.Tensor]) -> None:
    """Raise where a GPU would: devices mixed, or a type that CUDA has no kernel for."""
    if name not in MIXES and any(t.dim() or not (is_pointwise or name in SCALARS) for t in hosts):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({name})"
        )
    dtypes = {t.dtype for t in sims.values()}
    is_integer = name in FLOAT_ONLY and not any(d.is_floating_point or d.is_complex for d in dtypes)
    if is_integer or (name.startswith(NO_BYTES) and torch.uint8 in dtypes):
        raise RuntimeError(f'"{name}_cuda" not implemented for {dtypes}')


def _count_indices(gpu: SimulatedGPU, name: str, args: tuple) -> None:
    if not isinstance(args[0], SimTensor):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if name != "index" and not isinstance(args[2], SimTensor) and args[2].dim():
        raise RuntimeError("Expected all tensors to be on the same device (values of an index_put on cpu)")
    indices = [i for i in args[1] if i is not None]
    masks = [i for i in indices if i.dtype in (torch.bool, torch.uint8)]
    is_fill = name != "index" and args[2].numel() == 1 and len(indices) == len(masks) == 1
    gpu.add("syncs", "mask index", 0 if is_fill else len(masks))
    for index in indices:
        if not isinstance(index, SimTensor):
            gpu.copy("h2d", index.numel(), index.itemsize, index.itemsize, pinned=False, non_blocking=False)
