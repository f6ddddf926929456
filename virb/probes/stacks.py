"""H image-level heads of one shape as one problem: batched products, with the gradients written out.

A small head's step is mostly PyTorch's dispatch, so what counts is the number of operations: there is no automatic
differentiation, and all parameters lie in one flat tensor, which the optimiser updates at once.

On CPU each head's bits are the same whatever other heads share the stack. Matrix libraries choose their kernels by the
alignment of what they are given, so the axes of embeddings, hidden units and examples are padded with zeros to whole
cache lines. Padded weights meet nothing but zeros and stay zero; padded examples have no weight in the loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from virb.heads.fusion import FusionHead
from virb.heads.linear import LinearHead

FLOATS_A_CACHE_LINE = 16


def aligned(n: int) -> int:
    """Return ``n`` rounded up to whole cache lines of float32."""
    return n + -n % FLOATS_A_CACHE_LINE


class Stack(ABC):
    """H heads as views, ``weights`` (H, ...) by name, of one tensor whose gradient :meth:`set_gradients` sets."""

    def __init__(self, members: Sequence[Mapping[str, Tensor]], device: torch.device | str) -> None:
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
        """Return the weights of the heads ``first`` to ``end - 1`` as few flat tensors of whole cache lines, with their
        gradients, for an optimiser.
        """
        if (first, end) == (0, self._n):
            pieces = [(self._flat, self._gradient)]
        else:
            parts = zip(self._parts(self._flat), self._parts(self._gradient), self._sizes, strict=True)
            pieces = [(w[first * size : end * size], g[first * size : end * size]) for w, g, size in parts]
        for weights, gradient in pieces:
            weights.grad = gradient
        return [weights for weights, _ in pieces]

    @abstractmethod
    def set_gradients(self, x: Tensor, labels: Tensor, count: int) -> None:
        """Set the gradients of each head's mean cross-entropy over its first ``count`` examples.

        Args:
            x: (H, F, B, D), the embeddings of F frames, D padded.
            labels: (H, B), the classes.
        """

    @abstractmethod
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        """Copy the weights into heads of the kind and shape that the stack was made from."""

    def is_finite(self) -> Tensor:
        """Return (H,), whether all of a head's weights are finite."""
        return torch.stack([weight.isfinite().flatten(1).all(1) for weight in self.weights.values()]).all(0)


class LinearStack(Stack):
    """Heads (B, D) -> (B, K)."""

    def __init__(self, heads: Sequence[LinearHead], device: torch.device | str = "cpu") -> None:
        super().__init__([{"weight": _pad(head.weight, 1), "bias": head.bias} for head in heads], device)

    def set_gradients(self, x: Tensor, labels: Tensor, count: int) -> None:
        x, w, g = x[:, 0], self.weights, self.gradients
        # Weights before features: for few classes (K, D) x (D, B) and (K, B) x (B, D) are several times faster.
        logits = torch.baddbmm(w["bias"][:, :, None], w["weight"], x.transpose(1, 2))
        error = _error(logits, labels, count)
        torch.bmm(error, x, out=g["weight"])
        torch.sum(error, 2, out=g["bias"])

    @torch.no_grad()
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        for k, head in enumerate(heads):
            assert isinstance(head, LinearHead)
            head.weight.copy_(self.weights["weight"][k, :, : head.in_features])
            head.bias.copy_(self.weights["bias"][k])


class FusionStack(Stack):
    """Heads (B, F, D) -> (B, K): a layer of h hidden units for each frame, ReLU, and one layer on all of them."""

    def __init__(self, heads: Sequence[FusionHead], device: torch.device | str = "cpu") -> None:
        super().__init__(
            [
                {
                    "frame_weight": _pad(torch.stack([layer.weight for layer in _layers(head)]), 1, 2),  # (F, h, D)
                    "frame_bias": _pad(torch.stack([layer.bias for layer in _layers(head)]), 1),  # (F, h)
                    "weight": _pad(head.fusion.weight.unflatten(1, (len(head.frames), -1)), 2),  # (K, F, h)
                    "bias": head.fusion.bias,
                }
                for head in heads
            ],
            device,
        )

    def set_gradients(self, x: Tensor, labels: Tensor, count: int) -> None:
        w, g = self.weights, self.gradients
        x = x.flatten(0, 1)  # (HF, B, D)
        hidden = torch.baddbmm(
            w["frame_bias"].flatten(0, 1)[:, :, None], w["frame_weight"].flatten(0, 1), x.transpose(1, 2)
        ).relu_()  # (HF, h, B)
        joined = hidden.view(len(labels), -1, x.shape[1])  # (H, Fh, B)
        weight = w["weight"].flatten(2)
        error = _error(torch.baddbmm(w["bias"][:, :, None], weight, joined), labels, count)
        torch.bmm(error, joined.transpose(1, 2), out=g["weight"].flatten(2))
        torch.sum(error, 2, out=g["bias"])
        back = torch.bmm(weight.transpose(1, 2), error).view_as(hidden).mul_(hidden > 0)
        torch.bmm(back, x, out=g["frame_weight"].flatten(0, 1))
        torch.sum(back, 2, out=g["frame_bias"].flatten(0, 1))

    @torch.no_grad()
    def copy_to(self, heads: Sequence[nn.Module]) -> None:
        for k, head in enumerate(heads):
            assert isinstance(head, FusionHead)
            w, layers = {name: weight[k] for name, weight in self.weights.items()}, _layers(head)
            for layer, weight, bias in zip(layers, w["frame_weight"], w["frame_bias"], strict=True):
                layer.weight.copy_(weight[: layer.out_features, : layer.in_features])
                layer.bias.copy_(bias[: layer.out_features])
            head.fusion.weight.copy_(w["weight"][..., : layers[0].out_features].flatten(1))
            head.fusion.bias.copy_(w["bias"])


def stack_heads(heads: Sequence[nn.Module], device: torch.device | str = "cpu") -> Stack:
    """Return heads of one kind and shape as one problem, with their present weights."""
    linear = [head for head in heads if isinstance(head, LinearHead)]
    fusion = [head for head in heads if isinstance(head, FusionHead)]
    assert len(heads) in (len(linear), len(fusion)), "image-level heads are linear or fusion heads, all of one kind"
    return LinearStack(linear, device) if linear else FusionStack(fusion, device)


def _layers(head: FusionHead) -> list[nn.Linear]:
    return [layer for layer in head.frames if isinstance(layer, nn.Linear)]


def _error(logits: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the derivative of the mean cross-entropy over the first ``count`` examples by the logits (H, K, B)."""
    error = logits.softmax(dim=1)
    error.scatter_add_(1, labels[:, None], error.new_full((1, 1, 1), -1.0).expand(len(labels), 1, labels.shape[1]))
    if count < labels.shape[1]:
        error[:, :, count:] = 0
    return error.mul_(1 / count)


def _pad(weight: Tensor, *axes: int) -> Tensor:
    """Return ``weight`` with zeros at the end of the given axes, up to whole cache lines."""
    room = [aligned(n) - n if axis in axes else 0 for axis, n in enumerate(weight.shape)]
    return nn.functional.pad(weight, [side for n in reversed(room) for side in (0, n)])
