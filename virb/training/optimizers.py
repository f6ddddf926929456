"""Optimisers of self-supervised learning that PyTorch lacks, and which parameters weight decay spares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from virb.errors import UsageError

NAMES = ("sgd", "lars", "larc", "adamw")


class LARS(Optimizer):
    """SGD with momentum whose step is scaled, tensor by tensor, to the size of the weights.

    You, Gitman and Ginsburg 2017, as in SimCLR's code: the gradient g, weight decay included, is multiplied by
    trust * |w| / |g|; groups with ``adapt=False`` (biases, normalisation) take plain SGD steps.

    With ``larc`` it is the LARC that SwAV trains with (Apex, clip=False): every tensor is scaled, and by
    trust * |w| / (|g| + decay * |w|), the norms taken apart.

    Args:
        params: parameters or groups; a group may set ``adapt``.
        trust: the trust coefficient (0.001 in all published settings used here).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        larc: bool = False,
        eps: float = 1e-8,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "larc": larc, "eps": eps,
            "adapt": True,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = p.grad
                decay = group["weight_decay"]
                if decay:
                    update = update.add(p, alpha=decay)
                if group["adapt"] or group["larc"]:
                    update = update * self._factor(p, p.grad, update, group)
                state = self.state[p]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = update.clone()
                else:
                    state["momentum_buffer"].mul_(group["momentum"]).add_(update)
                p.add_(state["momentum_buffer"], alpha=-group["lr"])
        return loss

    @staticmethod
    def _factor(p: Tensor, grad: Tensor, update: Tensor, group: dict[str, Any]) -> Tensor:
        weight = p.norm()
        norm = grad.norm() + group["weight_decay"] * weight if group["larc"] else update.norm()
        usable = (weight > 0) & (grad.norm() > 0)
        return torch.where(usable, group["trust"] * weight / (norm + group["eps"]), torch.ones_like(norm))


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    decay_all: bool = False,
    leave_out: nn.Module | None = None,
    constant_lr: bool = False,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed weights and the rest.

    Biases and normalisation parameters (everything of fewer than two dimensions) get no weight decay and, under LARS,
    no adaptation: the convention of SimCLR, BYOL and Barlow Twins.

    Args:
        decay_all: one group for everything, as the code of MoCo and SimSiam has it.
        leave_out: a part whose parameters are not wanted.
        constant_lr: the schedule passes these parameters by.
    """
    excluded = {id(p) for p in leave_out.parameters()} if leave_out is not None else set()
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for p in module.parameters():
        if p.requires_grad and id(p) not in excluded:
            (plain if p.ndim < 2 and not decay_all else decayed).append(p)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "adapt": True, "constant_lr": constant_lr},
        {"params": plain, "weight_decay": 0.0, "adapt": False, "constant_lr": constant_lr},
    ]
    return [g for g in groups if g["params"]]


def build_optimizer(
    name: str, groups: list[dict[str, Any]], *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """Return the optimiser ``name`` ("sgd", "lars", "larc" or "adamw") over ``groups``.

    ``momentum`` is AdamW's first beta. A group's own weight decay stands; ``weight_decay`` is for groups without one.
    """
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if name in ("lars", "larc"):
        return LARS(groups, lr, momentum=momentum, weight_decay=weight_decay, larc=name == "larc")
    if name == "adamw":
        return AdamW(groups, lr=lr, betas=(momentum, 0.999), weight_decay=weight_decay)
    raise UsageError(f"Unknown optimizer {name!r}; expected one of {', '.join(NAMES)}.")
