"""How a linear layer on dense features is trained, by what it predicts: DINOv2's, DINOv3's and Probe3D's published settings.

A recipe is a head's number of outputs, its loss, how its outputs become a prediction, and its optimiser. Rates, decays and
losses are as published; steps are the task's epochs, and warm-ups keep their share of the steps. docs/probes.md has the
sources and every departure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

N_BINS = 256
LEAST_M = 1e-3  # of depth: a smaller target is no measurement
ERROR_EPS = 1e-3
GRADIENT_STEPS = (1, 2, 4, 6)

#: Of a list of pairs, outputs (B, C, H, W) and targets (B, H, W[, k]) of one size each, the loss of one head.
Total = Callable[[Sequence[tuple[Tensor, Tensor]], float], Tensor]


@dataclass(frozen=True)
class Recipe:
    """``loss(pairs, done)`` is minimised, where ``done`` is the share of steps behind; ``predict`` turns outputs (B, C, H, W)
    into what the metric takes; ``n_out`` is C. ``resizes_prediction``: the loss takes what ``predict`` gives, and that is
    brought to the target's size; otherwise the outputs are.
    """

    name: str
    n_out: int
    loss: Total
    predict: Callable[[Tensor], Tensor]
    optimizer: Optimizer
    resizes_prediction: bool = False


@dataclass(frozen=True)
class Optimizer:
    """AdamW, and a rate that rises linearly over the first ``warmup`` of the steps and falls to ``floor`` times ``lr``."""

    lr: float
    weight_decay: float
    warmup: float
    schedule: str  # "linear" (polynomial of power 1) or "cosine"
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None  # of a head's gradient, its largest norm
    floor: float = 0.0
    start: float = 1e-6  # of the warm-up, as a share of lr
    dropout: float = 0.0  # of channels, in training

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of update ``step`` (0-based) out of ``steps``."""
        warmup = self.warmup * steps
        if step < warmup:
            return self.lr * (self.start + (1 - self.start) * step / warmup)
        done = (step - warmup) / max(1.0, steps - warmup)
        left = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.lr * (self.floor + (1 - self.floor) * left)


#: DINOv2's published configurations for segmentation: 40,000 steps, of which 1,500 warm up; AdamW, polynomial of power 1.
DINOV2_SEGMENTATION = Optimizer(1e-3, 1e-4, 1500 / 40_000, "linear")
#: DINOv3's: cosine, more decay, and a tenth of the channels dropped.
DINOV3_SEGMENTATION = Optimizer(1e-3, 1e-3, 1500 / 40_000, "cosine", dropout=0.1)
#: DINOv3's for depth on NYU (DINOv2's rate of its linear head is not published): 38,400 steps, of which 12,800 warm up.
DEPTH = Optimizer(3e-4, 1e-4, 1 / 3, "cosine", betas=(0.9, 0.99), clip=35.0)
#: Probe3D's: ten epochs, of which one and a half warm up.
NORMALS = Optimizer(5e-4, 1e-2, 0.15, "cosine", floor=0.01)


def bins_to_depth(outputs: Tensor, cap: float) -> Tensor:
    """Return depths (B, 1, H, W) of outputs (B, 256, H, W): the mean of 256 depths from .001 to ``cap``, weighted by
    (relu(o) + .1) over its sum (AdaBins by way of DINOv2's depth heads).
    """
    centres = torch.linspace(LEAST_M, cap, outputs.shape[1], device=outputs.device, dtype=outputs.dtype)
    weights = F.relu(outputs) + 0.1
    return (weights * centres[:, None, None]).sum(1, keepdim=True) / weights.sum(1, keepdim=True)


def depth_loss(pairs: Sequence[tuple[Tensor, Tensor]], done: float, *, cap: float, gradient: float) -> Tensor:
    """Return SigLoss + ``gradient`` x GradientLoss (DINOv2, eval/depth) of depths (B, 1, H, W) and targets (B, H, W).

    With g = ln(d + .001) - ln(t + .001) over the batch's valid pixels, SigLoss = sqrt(var g + .15 (mean g)^2); over the
    first 100 of 38,400 steps it is the mean term alone. Valid is a target above .001 and at most ``cap``.
    """
    errors, slopes, n_valid = [], [], 0
    for output, target in pairs:
        valid = (target > LEAST_M) & (target <= cap)
        error = torch.log(output[:, 0].clamp(min=0) + ERROR_EPS) - torch.log(
            torch.where(valid, target, torch.ones_like(target)) + ERROR_EPS
        )
        errors.append(error[valid])
        n_valid += errors[-1].numel()
        if gradient:
            slopes += [_slope(error[:, ::step, ::step], valid[:, ::step, ::step]) for step in GRADIENT_STEPS]
    g = torch.cat(errors)
    if g.numel() < 2:
        return g.sum() * 0
    mean = 0.15 * g.mean() ** 2
    total = torch.sqrt((mean if done < 100 / 38_400 else g.var() + mean) + 1e-12)
    for step in range(len(GRADIENT_STEPS)) if gradient else ():
        of_step = slopes[step :: len(GRADIENT_STEPS)]
        n = torch.stack([count for _, count in of_step]).sum().clamp(min=1)
        total = total + gradient * torch.stack([value for value, _ in of_step]).sum() / n
    return total


def _slope(error: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of absolute differences of errors two pixels apart, down and across, and the number of valid pixels."""
    total = error.new_zeros(())
    for dim in (1, 2):
        n = error.shape[dim]
        if n > 2:
            both = valid.narrow(dim, 0, n - 2) & valid.narrow(dim, 2, n - 2)
            step = (error.narrow(dim, 0, n - 2) - error.narrow(dim, 2, n - 2)).abs()
            total = total + step[both].sum()
    return total, valid.sum()


def normals_loss(pairs: Sequence[tuple[Tensor, Tensor]], done: float) -> Tensor:
    """Return the angular loss with uncertainty (Bae et al. 2021, as in Probe3D) of outputs (B, 4, H, W) and (B, H, W, 3).

    With k = elu(o) + 1.01: log(1 + exp(-pi k)) - log(k^2 + 1) + k x angle; the mean over pixels with a target.
    """
    values = []
    for output, target in pairs:
        valid = torch.linalg.vector_norm(target, dim=-1) > 0  # false for NaN
        found, true = output.permute(0, 2, 3, 1)[valid], target[valid]
        cosine = F.cosine_similarity(found[:, :3], true, dim=1).clamp(-1 + 1e-4, 1 - 1e-4)
        kappa = F.elu(found[:, 3]) + 1.01
        values.append(torch.log1p(torch.exp(-math.pi * kappa)) - torch.log(kappa**2 + 1) + kappa * torch.acos(cosine))
    every = torch.cat(values)
    return every.mean() if every.numel() else every.sum()
