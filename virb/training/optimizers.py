"""Optimisers of self-supervised learning that PyTorch lacks, and which parameters weight decay spares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
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
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step_group(group, parameters, [p.grad for p in parameters])
        return loss

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor], grads: list[Any]) -> None:
        """Step all tensors of a group in operations on lists, which a GPU runs as one each."""
        decay = group["weight_decay"]
        updates = list(torch._foreach_add(grads, parameters, alpha=decay)) if decay else grads
        if group["adapt"] or group["larc"]:
            updates = list(torch._foreach_mul(updates, self._factors(parameters, grads, updates, group)))
        new = [k for k, p in enumerate(parameters) if "momentum_buffer" not in self.state[p]]
        old = [k for k in range(len(parameters)) if k not in set(new)]
        for k in new:
            self.state[parameters[k]]["momentum_buffer"] = updates[k].clone()
        if old:
            moved = [self.state[parameters[k]]["momentum_buffer"] for k in old]
            torch._foreach_mul_(moved, group["momentum"])
            torch._foreach_add_(moved, [updates[k] for k in old])
        buffers = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_add_(parameters, buffers, alpha=-group["lr"])

    @staticmethod
    def _factors(
        parameters: list[Tensor], grads: list[Tensor], updates: list[Tensor], group: dict[str, Any]
    ) -> list[Tensor]:
        weight, grad = (torch.stack(torch._foreach_norm(tensors)) for tensors in (parameters, grads))
        if group["larc"]:
            norm = grad + group["weight_decay"] * weight
        else:
            norm = torch.stack(torch._foreach_norm(updates))
        usable = (weight > 0) & (grad > 0)
        factors = torch.where(usable, group["trust"] * weight / (norm + group["eps"]), torch.ones_like(norm))
        return list(factors.unbind())


@torch.no_grad()
def clip_each(grads: list[Tensor], largest: float) -> None:
    """Scale every gradient on its own so that its norm is at most ``largest`` (0: any), in place, as DINO's code does."""
    if grads and largest:
        # The norm of the one norm is what torch.nn.utils.clip_grad_norm_ takes, to the bit.
        norms = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))[:, None], dim=1)
        torch._foreach_mul_(grads, list((largest / (norms + 1e-6)).clamp(max=1.0).unbind()))


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    decay_all: bool = False,
    spare_norms: bool = False,
    leave_out: nn.Module | None = None,
    constant_lr: bool = False,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into decayed weights and the rest.

    Biases and normalisation parameters (everything of fewer than two dimensions) get no weight decay and, under LARS,
    no adaptation: the convention of SimCLR, BYOL and Barlow Twins.

    Args:
        decay_all: one group for everything, as the code of MoCo and SimSiam has it.
        spare_norms: with ``decay_all``, all but batch normalisation, as VISSL has it.
        leave_out: a part whose parameters are not wanted.
        constant_lr: the schedule passes these parameters by.
    """
    excluded = {id(p) for p in leave_out.parameters()} if leave_out is not None else set()
    norms = {
        id(p)
        for m in module.modules()
        if spare_norms and isinstance(m, _BatchNorm)
        for p in m.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for p in module.parameters():
        if p.requires_grad and id(p) not in excluded:
            is_plain = id(p) in norms if decay_all else p.ndim < 2
            (plain if is_plain else decayed).append(p)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "adapt": True, "constant_lr": constant_lr},
        {"params": plain, "weight_decay": 0.0, "adapt": False, "constant_lr": constant_lr},
    ]
    return [g for g in groups if g["params"]]


def layer_groups(
    module: nn.Module, weight_decay: float, *, n_blocks: int, decay: float, patch_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Return the groups of ``parameter_groups`` split further by the rates of a transformer's layers.

    Bao et al. 2022 (BEiT): the k-th of ``n_blocks`` blocks learns at ``decay`` ** (``n_blocks`` - k + 1) of the rate, patch
    embedding, positions and tokens as a block before the first, all else at the rate itself; the patch embedding moreover at
    ``patch_scale`` of its own (DINOv2's utils/param_groups.py).
    """
    names = {id(p): name for name, p in module.named_parameters()}

    def scale(name: str) -> float:
        block = re.search(r"\bblocks\.(\d+)\.", name)
        if block:
            return decay ** (n_blocks - int(block[1]))
        is_first = re.search("patch_embed|pos_embed|cls_token|reg_token|mask_token", name)
        return (decay ** (n_blocks + 1) if is_first else 1.0) * (patch_scale if "patch_embed" in name else 1.0)

    found: dict[tuple[int, float], dict[str, Any]] = {}
    for k, group in enumerate(parameter_groups(module, weight_decay)):
        for p in group["params"]:
            own = scale(names[id(p)])
            found.setdefault((k, own), {**group, "params": [], "lr_scale": own})["params"].append(p)
    return list(found.values())


def build_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    beta2: float = 0.999,
) -> Optimizer:
    """Return the optimiser ``name`` ("sgd", "lars", "larc" or "adamw") over ``groups``.

    ``momentum`` is AdamW's first beta, ``beta2`` its second. A group's own weight decay stands; ``weight_decay`` is for
    groups without one.
    """
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if name in ("lars", "larc"):
        return LARS(groups, lr, momentum=momentum, weight_decay=weight_decay, larc=name == "larc")
    if name == "adamw":
        is_on_gpu = all(p.device.type == "cuda" for group in groups for p in group["params"])
        fused = True if is_on_gpu else None
        return AdamW(groups, lr=lr, betas=(momentum, beta2), weight_decay=weight_decay, fused=fused)
    raise UsageError(f"Unknown optimizer {name!r}; expected one of {', '.join(NAMES)}.")
