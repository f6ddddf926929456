"""Products of single-precision matrices on a CPU, by the library that is fastest there.

On x86 processors PyTorch computes convolutions by oneDNN and matrix products by MKL, which uses half of the vector units
that AMD's newer processors have. PyTorch has a product by oneDNN too, which its compiler emits for CPUs; it is taken here
where nothing is trained. The two differ by rounding alone.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_ROWS = 8  # below it, what a call costs is more than what it saves


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what ``torch.nn.functional.linear`` does: ``x`` (..., K) times ``weight`` (M, K), and ``bias`` (M,), as (..., M)."""
    found = _onednn_product(x, weight, bias)
    return F.linear(x, weight, bias) if found is None else found


def similarities(a: Tensor, b: Tensor, room: Tensor) -> Tensor:
    """Return the products of all rows of ``a`` (N, K) and ``b`` (M, K), as (N, M): in ``room`` where that saves fresh memory."""
    found = _onednn_product(a, b, None)
    return torch.mm(a, b.T, out=room) if found is None else found


class InferenceLinear(nn.Linear):
    """A fully connected layer of a network that is only run."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def use_for_inference(network: nn.Module) -> int:
    """Make every fully connected layer of a frozen network compute by :func:`linear`; return how many there are.

    Layers of classes of their own are left as they are.
    """
    layers = [module for module in network.modules() if type(module) is nn.Linear]
    for layer in layers:
        layer.__class__ = InferenceLinear
    return len(layers)


def _onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Return the product by oneDNN; None where that is not for these tensors, or not to be had."""
    if torch.compiler.is_compiling():  # the compiler chooses for itself
        return None
    tensors = (x, weight) if bias is None else (x, weight, bias)
    is_for_it = (
        all(part.device.type == "cpu" and part.dtype == torch.float32 and part.is_contiguous() for part in tensors)
        and x.ndim >= 2
        and weight.ndim == 2
        and x.shape[-1] == weight.shape[1] > 0
        and x.numel() >= LEAST_ROWS * x.shape[-1]
        and torch.backends.mkldnn.is_available()
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in tensors))
        and not torch.is_autocast_enabled("cpu")
    )
    product = _by_onednn() if is_for_it else None
    return None if product is None else product(x, weight, bias, "none", [], "")


@functools.cache
def _by_onednn() -> Any:
    """Return PyTorch's product by oneDNN; None where it has none, or one that does not do what is expected of it.

    It belongs to PyTorch's compiler and is no part of what PyTorch promises to keep, so it is tried first.
    """
    x, weight = torch.linspace(-1, 1, 33 * 40).view(33, 40), torch.linspace(1, -2, 24 * 40).view(24, 40)
    bias = torch.arange(24.0)
    with contextlib.suppress(AttributeError, RuntimeError, TypeError), torch.no_grad():
        product = torch.ops.mkldnn._linear_pointwise
        found = product(x, weight, bias, "none", [], "")
        if torch.allclose(found, F.linear(x, weight, bias), rtol=1e-4, atol=1e-4):
            return product
    return None
