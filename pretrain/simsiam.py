"""SimSiam: predict the other view's projection through a stopped gradient; no negatives, no momentum (Chen, He 2021)."""

from __future__ import annotations

import torch

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import initial, losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment
from virb.training.optimizers import parameter_groups


class SimSiam(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        if options["zero_init_residual"]:
            initial.zero_init_residual(encoder)
        dim = options["projection_dim"]
        self.projector = projections.mlp([encoder.dim, encoder.dim, encoder.dim, dim], last_norm="plain")
        self.predictor = projections.mlp([dim, options["bottleneck_dim"], dim])
        self.view = views.view(options, setup)

    def views(self, images, generator):
        return augment.together([self.view, self.view], images, generator)

    def forward(self, views, batch, progress):
        z1, z2 = (self.projector(self.encoder(view)) for view in views)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = (losses.negative_cosine(p1, z2) + losses.negative_cosine(p2, z1)) / 2
        return Outcome(loss, torch.cat([z1, z2]))

    def groups(self, weight_decay):
        groups = parameter_groups(self, weight_decay, decay_all=True, leave_out=self.predictor)
        # The predictor keeps the first learning rate: it has to stay ahead of the encoder (Section 4.2).
        return [*groups, *parameter_groups(self.predictor, weight_decay, decay_all=True, constant_lr=True)]

    def projection(self):
        return self.projector


METHOD = Method(
    name="simsiam",
    role="self-supervised",
    source="Chen, He 2021, Exploring Simple Siamese Representation Learning (CVPR)",
    learner=SimSiam,
    # Section 3: SGD 0.05 x batch / 256 at 512, weight decay 1e-4 on everything, cosine, 100 epochs.
    training=Training("sgd", lr=0.1, batch_size=512, epochs=100, weight_decay=1e-4),
    options=(
        Option(
            "projection_dim", 2048, "output dimension of the projector; its hidden layers are as wide as the embedding"
        ),
        Option("bottleneck_dim", 512, "hidden units of the predictor", low=1),
        initial.ZERO_INIT,
        *views.options(min_crop=0.2, jitter=views.MOCO_JITTER, blur_p=0.5),
    ),
)
