"""What DINO, iBOT and DINOv2 share: crops, the head, and the teacher's temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from virb.contracts.method import Option, Setup
from virb.networks import projections
from virb.pretraining import views
from virb.training import augment
from virb.training.canvas import Canvas

TEMPERATURES = (
    Option("student_temperature", 0.1, "of the student", low=0.001),
    Option("first_teacher_temperature", 0.04, "of the teacher at the start", low=0.001),
    Option("teacher_temperature", 0.07, "of the teacher after its warm-up", low=0.001),
    Option("teacher_warmup_epochs", 30.0, "how long the teacher's temperature rises", low=0.0),
)


class Crops:
    """Two large crops of each image, at their own settings, and ``options["small_crops"]`` small ones (Caron et al. 2021)."""

    def __init__(self, options: Mapping[str, Any], setup: Setup) -> None:
        split, small = options["crop_split"], augment.small_crop_size(setup.image_size)
        self.large = [views.view(options, setup, k, crop_scale=(split, 1.0)) for k in range(2)]
        self.small = views.view(options, setup, 2, size=small, crop_scale=(options["min_crop"], split))
        self.n_small = options["small_crops"]

    def __call__(self, images: Tensor | Canvas, generator: torch.Generator) -> list[Tensor]:
        """Return the large crops, then the small ones."""
        *small, one, two = augment.together([*[self.small] * self.n_small, *self.large], images, generator)
        return [one, two, *small]


def head(dim: int, options: Mapping[str, Any], *, has_scale: bool = False, has_norm: bool = False) -> nn.Sequential:
    """Return the head of Caron et al. 2021, Section 3.1, from ``dim`` to ``options["prototypes"]`` scores.

    Its last layer is the prototypes; with ``has_scale`` each has a length that is trained (DINO's norm_last_layer=False).
    With ``has_norm`` both hidden layers are normalised over the batch, (N, dim) (DINO's use_bn_in_head).
    """
    hidden, bottleneck = options["hidden_dim"], options["bottleneck_dim"]
    last = projections.WeightNormPrototypes(bottleneck, options["prototypes"], has_scale=has_scale)
    layers: list[nn.Module] = []
    for width in (dim, hidden):
        layers += [nn.Linear(width, hidden), *([nn.BatchNorm1d(hidden)] if has_norm else []), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(hidden, bottleneck), last)


def teacher_temperature(epoch: float, options: Mapping[str, Any]) -> float:
    """Return the teacher's temperature, which rises linearly over ``options["teacher_warmup_epochs"]`` epochs."""
    first, last = options["first_teacher_temperature"], options["teacher_temperature"]
    warmup = options["teacher_warmup_epochs"]
    return first + (last - first) * min(1.0, epoch / warmup) if warmup else last


def rest(last: nn.Module, epoch: float, options: Mapping[str, Any]) -> None:
    """Take the gradient from the head's last layer in the first ``options["freeze_epochs"]`` epochs."""
    if epoch < options["freeze_epochs"]:
        for parameter in last.parameters():
            parameter.grad = None
