"""BYOL: predict a momentum network's projection of the other view; no negatives (Grill et al. 2020)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment


class BYOL(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        hidden, dim = options["hidden_dim"], options["projection_dim"]
        self.projector = projections.mlp([encoder.dim, hidden, dim])
        self.predictor = projections.mlp([dim, hidden, dim])
        self.target = memory.MomentumCopy(nn.Sequential(encoder, self.projector))
        self.view_one, self.view_two = (views.view(options, setup, k) for k in range(2))

    def views(self, images, generator):
        return augment.together([self.view_one, self.view_two], images, generator)

    def forward(self, views, batch, progress):
        p1, p2 = (self.predictor(self.projector(self.encoder(view))) for view in views)
        z1, z2 = (self.target(view) for view in views)
        # Equation 2, summed over both directions: |p - z|^2 = 2 - 2 cos(p, z).
        loss = 4 + 2 * (losses.negative_cosine(p1, z2) + losses.negative_cosine(p2, z1))
        return Outcome(loss, torch.cat([z1, z2]))

    def after_step(self, progress):
        momentum = memory.momentum_at(progress.done, self.options["momentum"])
        self.target.follow(nn.Sequential(self.encoder, self.projector), momentum)

    def projection(self):
        return self.projector


METHOD = Method(
    name="byol",
    role="self-supervised",
    source="Grill et al. 2020, Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning (NeurIPS)",
    learner=BYOL,
    # Appendix J, 300 epochs: LARS 0.3 x batch / 256 at 4096, weight decay 1e-6, momentum from 0.99, 10 epochs of warm-up.
    training=Training("lars", lr=4.8, batch_size=4096, epochs=300, weight_decay=1e-6, warmup_epochs=10),
    options=(
        Option("momentum", 0.99, "of the target network at the start; it rises to 1 on a cosine", low=0.0, high=1.0),
        Option("hidden_dim", 4096, "hidden units of projector and predictor", low=1),
        Option("projection_dim", 256, "their output dimension", low=1),
        *views.options(min_crop=0.08, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2)),
    ),
)
