"""H image-level heads of one shape as one problem, whose weights lie in one flat tensor that the optimiser updates at once.

A small head's step is mostly PyTorch's dispatch, so what counts is the number of operations: a head whose file writes its
gradients out (:class:`FlatStack`) trains in batched products, without automatic differentiation. Any other trains by it,
one head after the other, in the same place (:class:`AutogradStack`).

On CPU each head's bits are the same whatever other heads share the stack. Matrix libraries choose their kernels by the
alignment of what they are given, so the axes of embeddings, hidden units and examples are padded with zeros to whole
cache lines. Padded weights meet nothing but zeros and stay zero; padded examples have no weight in the loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from virb.contracts.head import Head
from virb.contracts.loss import Loss

FLOATS_A_CACHE_LINE = 16


def aligned(n: int) -> int:
    """Return ``n`` rounded up to whole cache lines of float32."""
    return n + -n % FLOATS_A_CACHE_LINE


class Stack(ABC):
    """H heads that train as one problem."""

    @abstractmethod
    def parameters(self, first: int, end: int) -> list[Tensor]:
        """Return the weights of the heads ``first`` to ``end - 1`` as few flat tensors of whole cache lines, with their
        gradients, for an optimiser.
        """

    @abstractmethod
    def set_gradients(self, x: Tensor, targets: Tensor, count: int) -> None:
        """Set the gradients of each head's mean loss over its first ``count`` examples.

        Args:
            x: (H, F, B, D), the embeddings of F frames, D padded.
            targets: (H, B) classes, or (H, B, K).
        """

    @abstractmethod
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        """Copy the weights into heads of the kind and shape that the stack was made from, wherever they are."""

    @abstractmethod
    def is_finite(self) -> Tensor:
        """Return (H,), whether all of a head's weights are finite."""


class FlatStack(Stack):
    """H heads as views, ``weights`` (H, ...) by name, of one tensor whose gradient :meth:`set_gradients` sets.

    ``error(outputs, targets, count)`` is the derivative of each head's mean loss by its outputs (H, K, B).
    """

    def __init__(self, members: Sequence[Mapping[str, Tensor]], loss: Loss, device: torch.device | str) -> None:
        self.error = loss.derivative or derivative(loss)
        self._n = len(members)
        shapes = {name: weight.shape for name, weight in members[0].items()}
        self._sizes = [aligned(shape.numel()) for shape in shapes.values()]  # what a head takes of each part
        self._flat = torch.zeros(self._n * sum(self._sizes), device=device)
        self._gradient = torch.zeros_like(self._flat)
        self.weights, self.gradients = (
            {
                name: part.view(self._n, -1)[:, : shape.numel()].unflatten(1, shape)
                for (name, shape), part in zip(shapes.items(), self._parts(flat), strict=True)
            }
            for flat in (self._flat, self._gradient)
        )
        for name, weights in self.weights.items():
            weights.copy_(torch.stack([member[name].detach() for member in members]))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        return list(flat.split([self._n * size for size in self._sizes]))

    def parameters(self, first: int, end: int) -> list[Tensor]:
        if (first, end) == (0, self._n):
            pieces = [(self._flat, self._gradient)]
        else:
            parts = zip(self._parts(self._flat), self._parts(self._gradient), self._sizes, strict=True)
            pieces = [(w[first * size : end * size], g[first * size : end * size]) for w, g, size in parts]
        for weights, gradient in pieces:
            weights.grad = gradient
        return [weights for weights, _ in pieces]

    def is_finite(self) -> Tensor:
        return torch.stack([weight.isfinite().flatten(1).all(1) for weight in self.weights.values()]).all(0)


class AutogradStack(Stack):
    """Heads of any kind, each trained by automatic differentiation; the modules' weights become views of one tensor."""

    def __init__(self, heads: Sequence[nn.Module], loss: Loss, device: torch.device | str, *, dim: int) -> None:
        self._heads = [head.to(device).train() for head in heads]
        self._loss = loss
        self._dim = dim
        self._size = sum(aligned(parameter.numel()) for parameter in heads[0].parameters())
        self._flat = torch.zeros(len(heads), self._size, device=device)
        self._gradient = torch.zeros_like(self._flat)
        for head, weights, gradient in zip(self._heads, self._flat, self._gradient, strict=True):
            start = 0
            for parameter in head.parameters():
                part = slice(start, start + parameter.numel())
                view = weights[part].view_as(parameter)
                view.copy_(parameter.detach())
                parameter.data = view
                parameter.grad = gradient[part].view_as(parameter)
                start += aligned(parameter.numel())

    def parameters(self, first: int, end: int) -> list[Tensor]:
        weights = self._flat[first:end].view(-1)
        weights.grad = self._gradient[first:end].view(-1)
        return [weights]

    def set_gradients(self, x: Tensor, targets: Tensor, count: int) -> None:
        self._gradient.zero_()
        for head, inputs, wanted in zip(self._heads, x, targets, strict=True):
            inputs = inputs[:, :count, : self._dim]
            outputs = head(inputs[0] if len(inputs) == 1 else inputs.transpose(0, 1))
            total, n = self._loss.total(outputs, wanted[:count], None)
            if n:
                (total / n).backward()

    @torch.no_grad()
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        for head, own in zip(heads, self._heads, strict=True):
            for parameter, trained in zip(head.parameters(), own.parameters(), strict=True):
                parameter.data = trained.detach().clone()
                parameter.grad = None
            head.cpu()

    def is_finite(self) -> Tensor:
        return self._flat.isfinite().all(1)


def stack_heads(
    head: Head, modules: Sequence[nn.Module], loss: Loss, device: torch.device | str = "cpu", *, dim: int
) -> Stack:
    """Return ``modules`` that ``head`` built, of one shape, as one problem with their present weights.

    ``dim`` is the length of an example's embedding.
    """
    if head.stack is None:
        return AutogradStack(modules, loss, device, dim=dim)
    stack = head.stack(modules, loss, device)
    assert isinstance(stack, Stack)
    return stack


def derivative(loss: Loss) -> Callable[[Tensor, Tensor, int], Tensor]:
    """Return the derivative of H mean losses by the outputs (H, K, B), by automatic differentiation."""

    def error(outputs: Tensor, targets: Tensor, count: int) -> Tensor:
        found = torch.zeros_like(outputs)
        for k, wanted in enumerate(targets):
            own = outputs[k, :, :count].t().clone().requires_grad_()
            with torch.enable_grad():
                total, n = loss.total(own, wanted[:count], None)
            if n:
                found[k, :, :count] = torch.autograd.grad(total / n, own)[0].t()
        return found

    return error


def pad(weight: Tensor, *axes: int) -> Tensor:
    """Return ``weight`` with zeros at the end of the given axes, up to whole cache lines."""
    room = [aligned(n) - n if axis in axes else 0 for axis, n in enumerate(weight.shape)]
    return nn.functional.pad(weight, [side for n in reversed(room) for side in (0, n)])
