"""The surface that every trained method has: views, a loss, and what happens around an update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from virb.contracts.method import Setup
from virb.networks.base import Backbone
from virb.networks.token_encoder import TokenEncoder
from virb.training.canvas import Canvas
from virb.training.optimizers import parameter_groups


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``step`` of ``steps`` updates, ``epoch`` as a fraction, ``done`` in [0, 1)."""

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def done(self) -> float:
        return self.step / self.steps

    @property
    def epoch(self) -> float:
        return self.step / self.steps_per_epoch


@dataclass(frozen=True)
class Batch:
    """What belongs to the images of a step: their positions in the data set (N,) and their classes (N,), if any."""

    index: Tensor
    label: Tensor | None


@dataclass(frozen=True)
class Outcome:
    """What a step gives: the loss, the output to watch for collapse (N, D), and numbers for the log."""

    loss: Tensor
    output: Tensor | None = None
    metrics: Mapping[str, Tensor | float] = field(default_factory=dict)


class Learner(nn.Module):
    """A method at work on one encoder.

    All that changes during training is a parameter or a buffer (queues and memory banks too), so that the state
    dictionary is the whole state and a resumed run goes on exactly.

    With several processes ``views`` and ``forward`` see this process's slice of the batch. A loss that compares images
    takes ``distributed.gather`` of its projections; one that is a mean over images needs nothing. Batch normalisation
    uses the whole batch, unless ``sync_batch_norm`` is False: then it is the method's own affair.

    Where ``trains_on_tiles``, the running batch statistics are those of small tiles, and wrong for whole images: they are
    measured anew, on whole images, when training has ended.
    """

    sync_batch_norm = True
    trains_on_tiles = False

    def __init__(self, encoder: Backbone | TokenEncoder, options: Mapping[str, Any], setup: Setup) -> None:
        super().__init__()
        self.encoder = encoder
        self.options = dict(options)
        self.setup = setup

    def views(self, images: Tensor | Canvas, generator: torch.Generator) -> list[Tensor]:
        """Return the views of uint8 ``images``, each (N, 3, h, w), normalised; without gradient. Masks may follow them.

        The images are (N, H, W, 3), or a canvas where they differ in size; ``augment.View`` takes either.
        """
        raise NotImplementedError

    def forward(self, views: list[Tensor], batch: Batch, progress: Progress) -> Outcome:
        """Return the loss of the views."""
        raise NotImplementedError

    def before_step(self, progress: Progress) -> None:
        """Called before the views of an update are drawn: schedules of the method's own."""

    def after_backward(self, progress: Progress) -> None:
        """Called when gradients are there and before they are used: freezing, clipping."""

    def after_step(self, progress: Progress) -> None:
        """Called when the weights have been updated: momentum encoders, queues, normalised prototypes."""

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups."""
        return parameter_groups(self, weight_decay)

    def exported(self) -> Backbone:
        """Return the network that is kept when training ends."""
        return self.encoder.backbone if isinstance(self.encoder, TokenEncoder) else self.encoder

    def projection(self) -> nn.Module | None:
        """Return the head from that network's embedding to the loss, kept beside it; None if the method has none."""
        return None


def check_batch(learner: str, setup: Setup, least: int) -> None:
    """Refuse a batch too small for a method's statistics before anything is trained."""
    from virb.errors import UsageError

    if setup.batch_size < least:
        raise UsageError(f"{learner} needs batches of at least {least} images; found --batch-size {setup.batch_size}.")
