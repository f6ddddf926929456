"""Huber's loss (Huber 1964): half the squared error up to an error of 1, and beyond as steep as there."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from virb.contracts.loss import Loss
from virb.losses.numbers import of_errors

LOSS = Loss(
    name="huber",
    summary="half the squared error of a number up to 1, beyond it the absolute error less a half",
    takes=frozenset({"number", "map"}),
    total=of_errors(lambda error: F.huber_loss(error, torch.zeros_like(error), reduction="none")),
)
