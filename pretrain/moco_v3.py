"""MoCo v3: symmetric contrast of predictions with a momentum encoder's projections, no queue (Chen et al. 2021)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training, Variant
from virb.networks import projections
from virb.pretraining import initial, losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed


class MoCoV3(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        hidden, dim = options["hidden_dim"], options["projection_dim"]
        if options["zero_init_residual"]:
            initial.zero_init_residual(encoder)
        if options["fixed_positions"]:
            initial.fix_positions(encoder)
        if options["xavier"]:
            initial.xavier(encoder, splits_qkv=True)
        if options["freeze_patches"]:
            initial.freeze_patches(encoder)
        widths = [hidden] * (options["projector_layers"] - 1)
        self.projector = projections.mlp([encoder.dim, *widths, dim], last_norm="plain")
        self.predictor = projections.mlp(
            [dim, hidden, dim], last_norm="plain" if options["predictor_norm"] else "none", last_bias=False
        )
        self.key = memory.MomentumCopy(nn.Sequential(encoder, self.projector))
        self.view_one, self.view_two = (views.view(options, setup, k) for k in range(2))

    def views(self, images, generator):
        return augment.together([self.view_one, self.view_two], images, generator)

    def forward(self, views, batch, progress):
        q1, q2 = (self.predictor(self.projector(self.encoder(view))) for view in views)
        k1, k2 = (self.key(view) for view in views)
        output, tau = torch.cat([k1, k2]), self.options["temperature"]
        q1, q2, k1, k2 = (distributed.gather(z) for z in (q1, q2, k1, k2))
        return Outcome(losses.in_batch_info_nce(q1, k2, tau) + losses.in_batch_info_nce(q2, k1, tau), output)

    def after_step(self, progress):
        momentum = memory.momentum_at(progress.done, self.options["momentum"])
        self.key.follow(nn.Sequential(self.encoder, self.projector), momentum)

    def projection(self):
        return self.projector


METHOD = Method(
    name="moco-v3",
    role="self-supervised",
    source="Chen, Xie, He 2021, An Empirical Study of Training Self-Supervised Vision Transformers (ICCV)",
    learner=MoCoV3,
    # The authors' main_moco.py and CONFIG.md. ResNet-50 for 100 epochs: LARS 0.6 x batch / 256 at 4096, weight decay 1e-6;
    # for 300: --lr 4.8; for 1000: --lr 4.8 --weight-decay 1.5e-6 --option momentum=0.996.
    training=Training("lars", lr=9.6, batch_size=4096, epochs=100, weight_decay=1e-6, warmup_epochs=10),
    variants={
        "ViT": Variant(
            r"(timm:)?vit(_.*)?",
            Training("adamw", lr=0.0024, batch_size=4096, epochs=300, weight_decay=0.1, warmup_epochs=40),
            {
                "temperature": 0.2,
                "min_crop": 0.08,
                "projector_layers": 3,
                "predictor_norm": True,
                "freeze_patches": True,
                "fixed_positions": True,
                "xavier": True,
                "zero_init_residual": False,
            },
        )
    },
    options=(
        Option("temperature", 1.0, "tau (the authors: 1 for ResNets, 0.2 for ViTs)", low=0.001),
        Option("momentum", 0.99, "of the key network at the start; it rises to 1 on a cosine", low=0.0, high=1.0),
        Option("hidden_dim", 4096, "hidden units of projector and predictor", low=1),
        Option("projection_dim", 256, "their output dimension", low=1),
        Option("projector_layers", 2, "layers of the projector (the authors: 2 for ResNets, 3 for ViTs)", low=1),
        Option("predictor_norm", False, "batch normalisation at the predictor's end (the authors: for ViTs)"),
        Option("freeze_patches", False, "a ViT's patch embedding stays as it begins"),
        Option("fixed_positions", False, "a ViT's positions are sines and cosines, and stay so"),
        Option("xavier", False, "a ViT's layers are drawn from Xavier's distribution"),
        initial.ZERO_INIT,
        *views.options(min_crop=0.2, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1), solarize_p=(0.0, 0.2)),
    ),
)
