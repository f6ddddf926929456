"""What DINO, iBOT and DINOv2 share: their head, and the teacher's temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from virb.networks import projections


def head(
    dim: int, options: Mapping[str, Any], *, prototypes: int | None = None, has_scale: bool = False
) -> nn.Sequential:
    """Return the head of Caron et al. 2021, Section 3.1, from ``dim`` to ``options["prototypes"]`` scores.

    Its last layer is the prototypes; with ``has_scale`` each has a length that is trained (DINO's norm_last_layer=False).
    """
    hidden, bottleneck = options["hidden_dim"], options["bottleneck_dim"]
    last = projections.WeightNormPrototypes(bottleneck, prototypes or options["prototypes"], has_scale=has_scale)
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck), last
    )


def teacher_temperature(epoch: float, options: Mapping[str, Any]) -> float:
    """Return the teacher's temperature, which rises linearly over ``options["teacher_warmup_epochs"]`` epochs."""
    first, last = options["first_teacher_temperature"], options["teacher_temperature"]
    return first + (last - first) * min(1.0, epoch / options["teacher_warmup_epochs"])
