"""VICReg: views agree while every dimension keeps its variance and its own information (Bardes et al. 2022)."""

from __future__ import annotations

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import initial, losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed


class VICReg(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        if options["zero_init_residual"]:
            initial.zero_init_residual(encoder)
        dim = options["projection_dim"]
        self.expander = projections.mlp([encoder.dim, dim, dim, dim], last_bias=False)
        self.view_one, self.view_two = (views.view(options, setup, k) for k in range(2))

    def views(self, images, generator):
        return augment.together([self.view_one, self.view_two], images, generator)

    def forward(self, views, batch, progress):
        z1, z2 = (self.expander(self.encoder(view)) for view in views)
        o = self.options
        return Outcome(
            losses.vicreg(*(distributed.gather(z) for z in (z1, z2)), o["invariance"], o["variance"], o["covariance"]),
            z1,
        )

    def projection(self):
        return self.expander


METHOD = Method(
    name="vicreg",
    role="self-supervised",
    source="Bardes, Ponce, LeCun 2022, VICReg: Variance-Invariance-Covariance Regularization (ICLR)",
    learner=VICReg,
    # Section 4.2: LARS 0.2 x batch / 256 at 2048, weight decay 1e-6, 10 epochs of warm-up, cosine to 0.002.
    training=Training(
        "lars", lr=1.6, batch_size=2048, epochs=1000, weight_decay=1e-6, warmup_epochs=10, final_lr=0.002
    ),
    options=(
        Option("invariance", 25.0, "weight of the distance between views", low=0.0),
        Option("variance", 25.0, "weight of the hinge on the standard deviation", low=0.0),
        Option("covariance", 1.0, "weight of the off-diagonal covariance", low=0.0),
        Option("projection_dim", 8192, "hidden and output dimension of the expander", low=1),
        initial.ZERO_INIT,
        *views.options(min_crop=0.08, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2)),
    ),
)
