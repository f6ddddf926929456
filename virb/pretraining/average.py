"""A moving average of the weights of what a run will keep, for methods that keep the trained network itself."""

from __future__ import annotations

import copy

import torch
from torch import nn

from virb.networks.base import Backbone
from virb.pretraining.learner import Learner


class Average(nn.Module):
    """Copies of a learner's exported network and projection that follow them: decay * copy + (1 - decay) * weights.

    Batch statistics are averaged alike; counts are taken over. Until the first updates have told something, the decay is
    less: (1 + n) / (10 + n) after n updates (as TensorFlow's ExponentialMovingAverage has it).
    """

    updates: torch.Tensor

    def __init__(self, learner: Learner, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.encoder: Backbone = copy.deepcopy(learner.exported())
        self.projection = copy.deepcopy(learner.projection())
        self.requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def follow(self, learner: Learner) -> None:
        """Take one step towards the learner's weights."""
        n = int(self.updates)
        share = 1 - min(self.decay, (1 + n) / (10 + n))
        for own, other in ((self.encoder, learner.exported()), (self.projection, learner.projection())):
            if own is None or other is None:
                continue
            for mine, new in zip(own.state_dict().values(), other.state_dict().values(), strict=True):
                mine.lerp_(new.to(mine.dtype), share) if mine.is_floating_point() else mine.copy_(new)
        self.updates += 1
