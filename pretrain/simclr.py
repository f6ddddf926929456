"""SimCLR: two augmented views of an image agree, against all other images of the batch (Chen et al. 2020)."""

from __future__ import annotations

import torch

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed


class SimCLR(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.projector = projections.projection(
            options["projection"], encoder.dim, options["projection_dim"], hidden=options["hidden_dim"] or None,
            norm=options["head_norm"] != "none", last_norm="affine" if options["head_norm"] == "all" else "none",
        )  # fmt: skip
        self.view = views.view(options, setup, names=options["augment"])

    def views(self, images, generator):
        return augment.together([self.view, self.view], images, generator)

    def forward(self, views, batch, progress):
        # One pass over both views, so that batch normalisation sees all 2N of them (the paper's global BN).
        output = self.projector(self.encoder(torch.cat(views))).chunk(2)
        z1, z2 = (distributed.gather(z) for z in output)
        name, sh = self.options["loss"], self.options["semi_hard"]
        if name == "nt_xent":
            loss = losses.nt_xent(z1, z2, self.options["temperature"], normalize=self.options["l2_norm"])
        elif name == "nt_logistic":
            loss = losses.nt_logistic(z1, z2, self.options["temperature"], semi_hard=sh)
        else:
            loss = losses.margin_triplet(z1, z2, self.options["margin"], semi_hard=sh)
        return Outcome(loss, output[0])

    def projection(self):
        return self.projector


METHOD = Method(
    name="simclr",
    role="self-supervised",
    source="Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations (ICML)",
    learner=SimCLR,
    # Section 2.2 and Appendix B.1: LARS, 0.3 x batch / 256 at 4096, weight decay 1e-6, ten epochs of warm-up, cosine.
    training=Training(
        optimizer="lars", lr=4.8, batch_size=4096, epochs=100, weight_decay=1e-6, warmup_epochs=10, schedule="cosine"
    ),
    options=(
        Option("loss", "nt_xent", "the loss (Table 4)", choices=("nt_xent", "nt_logistic", "margin_triplet")),
        Option("temperature", 0.1, "tau of nt_xent and nt_logistic", low=0.001),
        Option("l2_norm", True, "nt_xent on the sphere (Table 5)"),
        Option("margin", 0.8, "m of margin_triplet", low=0.0),
        Option("semi_hard", False, "semi-hard negatives for nt_logistic and margin_triplet"),
        Option("projection", "nonlinear", "the projection head (Figure 8)", choices=projections.KINDS),
        Option("projection_dim", 128, "its output dimension", low=1),
        Option("hidden_dim", 0, "its hidden units; 0: as many as the encoder's dimension", low=0),
        Option(
            "head_norm",
            "hidden",
            "batch normalisation in the nonlinear head (the authors' code: all layers)",
            choices=("none", "hidden", "all"),
        ),
        Option("augment", "crop+flip+jitter+gray+blur", f"any of {'+'.join(augment.COMPOSABLE)} (Figure 5)"),
        *views.options(min_crop=0.08, jitter=views.SIMCLR_JITTER, blur_p=0.5, solarize_p=0.2),
    ),
)
