"""Barlow Twins: the cross-correlation of two views' projections is driven to the identity (Zbontar et al. 2021)."""

from __future__ import annotations

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import initial, losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed
from virb.training.optimizers import parameter_groups


class BarlowTwins(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        if options["zero_init_residual"]:
            initial.zero_init_residual(encoder)
        dim = options["projection_dim"]
        self.projector = projections.mlp([encoder.dim, dim, dim, dim], last_bias=False)
        self.view_one, self.view_two = (views.view(options, setup, k) for k in range(2))

    def views(self, images, generator):
        return augment.together([self.view_one, self.view_two], images, generator)

    def forward(self, views, batch, progress):
        z1, z2 = (self.projector(self.encoder(view)) for view in views)
        return Outcome(losses.barlow_twins(*(distributed.gather(z) for z in (z1, z2)), self.options["lambd"]), z1)

    def groups(self, weight_decay):
        groups = parameter_groups(self, weight_decay)
        for group in groups:
            if not group["adapt"]:  # biases and normalisation: 0.0048 where weights have 0.2 (Section 2.2)
                group["lr_scale"] = 0.0048 / 0.2
        return groups

    def projection(self):
        return self.projector


METHOD = Method(
    name="barlow-twins",
    role="self-supervised",
    source="Zbontar et al. 2021, Barlow Twins: Self-Supervised Learning via Redundancy Reduction (ICML)",
    learner=BarlowTwins,
    # Section 2.2: LARS 0.2 x batch / 256 at 2048, weight decay 1.5e-6, 10 epochs of warm-up, cosine to a thousandth.
    training=Training(
        "lars", lr=1.6, batch_size=2048, epochs=1000, weight_decay=1.5e-6, warmup_epochs=10, final_lr=0.0016
    ),
    options=(
        Option("lambd", 0.005, "weight of the off-diagonal terms", low=0.0),
        Option("projection_dim", 8192, "hidden and output dimension of the projector", low=1),
        initial.ZERO_INIT,
        *views.options(min_crop=0.08, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2)),
    ),
)
