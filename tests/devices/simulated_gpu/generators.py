"""Pinned memory and random generators of the simulated GPU."""

from __future__ import annotations

import weakref
from typing import Any

import torch

CUDA = torch.device("cuda:0")
ours: set[int] = set()  # the generators that say they are on the device
_pinned: set[int] = set()
_Generator = torch.Generator


def is_pinned(t: torch.Tensor, device: Any = None) -> bool:
    return not t.is_cuda and t.untyped_storage()._cdata in _pinned


def pin_memory_of(t: torch.Tensor, device: Any = None) -> torch.Tensor:
    if t.is_cuda:
        raise RuntimeError("cannot pin a tensor on cuda: only dense CPU tensors can be pinned")
    copied = t if is_pinned(t) else t.clone()
    _pinned.add(copied.untyped_storage()._cdata)
    weakref.finalize(copied, _pinned.discard, copied.untyped_storage()._cdata).atexit = False
    return copied


def pinning(empty: Any) -> Any:
    """Return ``torch.empty`` that pins without a driver."""

    def make(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
        made = empty(*args, **kwargs)
        return pin_memory_of(made) if pin_memory else made

    return make


class SimGenerator(_Generator):
    """A generator whose numbers come from the CPU, and which says that it is on the device."""

    device = property(lambda self: CUDA)  # type: ignore[assignment]

    def __new__(cls) -> SimGenerator:
        self = super().__new__(cls, device="cpu")
        ours.add(self._cdata)
        return self


class _IsGenerator(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _Generator)


class GeneratorFactory(metaclass=_IsGenerator):
    def __new__(cls, device: Any = "cpu") -> Any:
        return SimGenerator() if torch.device(device).type == "cuda" else _Generator(device=device)


_own: list[SimGenerator] = []


def default() -> SimGenerator:
    if not _own:
        _own.append(SimGenerator())
    return _own[0]
