"""The two optimisers that heads train with (Kotar et al. 2021, Appendix C)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma and Ba 2015, Algorithm 1; beta 0.9 and 0.999, epsilon 1e-8) by PyTorch's fused kernel for the CPU.

    ``torch.optim.Adam(fused=True)`` has the same bits, but its bookkeeping takes longer than a small head's arithmetic.
    The kernel treats elements beyond the last whole vector otherwise, so stacked heads come as one padded tensor.
    """

    def __init__(self, parameters: Sequence[Tensor], *, lr: float, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.weight_decay = weight_decay
        self._means = [torch.zeros_like(p) for p in self.parameters]
        self._squares = [torch.zeros_like(p) for p in self.parameters]
        self._steps = [torch.zeros(()) for _ in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        chosen = [k for k, parameter in enumerate(self.parameters) if parameter.grad is not None]
        adam(
            [self.parameters[k] for k in chosen],
            [grad for k in chosen if (grad := self.parameters[k].grad) is not None],
            [self._means[k] for k in chosen],
            [self._squares[k] for k in chosen],
            [],
            [self._steps[k] for k in chosen],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


def set_lr(optimizer: Adam | torch.optim.Optimizer, lr: float) -> None:
    """Take ``lr`` from the next step on."""
    if isinstance(optimizer, Adam):
        optimizer.lr = lr
        return
    for group in optimizer.param_groups:
        group["lr"] = lr


def make_optimizer(
    parameters: Sequence[Tensor], kind: str, lr: float, weight_decay: float = 0.0
) -> Adam | torch.optim.Optimizer:
    """Return ``kind``: "adam", or SGD with momentum 0.9 (the two of Appendix C's grid), "nesterov" with Nesterov's."""
    if kind == "adam":
        # On a GPU torch's own takes all tensors in one kernel, which is what counts there.
        places = {p.device.type for p in parameters}
        if places == {"cpu"}:
            return Adam(parameters, lr=lr, weight_decay=weight_decay)
        fused = True if places == {"cuda"} else None
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay, nesterov=kind == "nesterov")
