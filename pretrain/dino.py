"""DINO: a student matches the centred, sharpened output of its own moving average across crops (Caron et al. 2021)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training, Variant
from virb.pretraining import distillation, initial, losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import distributed
from virb.training.optimizers import clip_each
from virb.training.precision import widen


class DINO(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        head = distillation.head(encoder.dim, options, has_norm=options["head_norm"])
        initial.truncated_normal(head)
        self.last = head[-1]
        self.head = head
        self.teacher = memory.MomentumCopy(nn.Sequential(encoder, self.head))
        if options["drop_path"]:
            initial.drop_path(encoder, options["drop_path"])
        self.register_buffer("center", torch.zeros(options["prototypes"]))
        self.outputs = []  # of the teacher in the update under way; they move the centre when it is done
        self.crops = distillation.Crops(options, setup)

    def views(self, images, generator):
        return self.crops(images, generator)

    def forward(self, views, batch, progress):
        features = [self.encoder(torch.cat(views[:2]))] + ([self.encoder(torch.cat(views[2:]))] if views[2:] else [])
        student = self.head(torch.cat(features)).chunk(len(views))
        teacher = widen(self.teacher(torch.cat(views[:2]))).chunk(2)
        self.outputs.append(distributed.mean(torch.cat(teacher).mean(dim=0)))
        loss = losses.dino(
            student,
            teacher,
            self.center,
            student_temperature=self.options["student_temperature"],
            teacher_temperature=distillation.teacher_temperature(progress.epoch, self.options),
        )
        return Outcome(loss, teacher[0] - self.center)

    def after_backward(self, progress):
        clip_each([p.grad for p in self.parameters() if p.grad is not None], self.options["clip"])
        distillation.rest(self.last, progress.epoch, self.options)

    def after_step(self, progress):
        mean = torch.stack(self.outputs).mean(dim=0)
        self.outputs = []
        self.center.lerp_(mean, 1 - self.options["center_momentum"])
        momentum = memory.momentum_at(progress.done, self.options["momentum"])
        self.teacher.follow(nn.Sequential(self.encoder, self.head), momentum)

    def exported(self):
        return self.teacher.module[0]

    def projection(self):
        return self.teacher.module[1][:-1]  # all but the prototypes


METHOD = Method(
    name="dino",
    role="self-supervised",
    source="Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers (ICCV)",
    learner=DINO,
    # Section 3.2 and the authors' main_dino.py: AdamW 0.0005 x batch / 256 at 1024, ten epochs of warm-up, cosine to
    # 1e-6, weight decay from 0.04 to 0.4.
    training=Training(
        "adamw", lr=0.002, batch_size=1024, epochs=100, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=10,
        final_lr=1e-6,
    ),
    # The same code's README for ResNet-50: SGD 0.03 x batch / 256, weight decay 1e-4 throughout, crops split at 0.14.
    variants={
        "ResNet": Variant(
            r"(torchvision:)?(wide_)?resne.*",
            Training("sgd", lr=0.03, batch_size=256, epochs=100, weight_decay=1e-4, warmup_epochs=10, final_lr=1e-6),
            {"crop_split": 0.14},
        )
    },
    options=(
        *distillation.TEMPERATURES,
        Option("momentum", 0.996, "of the teacher at the start; it rises to 1 on a cosine", low=0.0, high=1.0),
        Option("center_momentum", 0.9, "of the centre", low=0.0, high=1.0),
        Option("prototypes", 65536, "the output dimension", low=2),
        Option("hidden_dim", 2048, "hidden units of the head", low=1),
        Option("bottleneck_dim", 256, "dimension before the last layer", low=1),
        Option("head_norm", False, "batch normalisation in the head (the authors' use_bn_in_head)"),
        Option("freeze_epochs", 1.0, "how long the last layer stays as it starts", low=0.0),
        Option("clip", 3.0, "largest norm of a gradient, tensor by tensor; 0: any", low=0.0),
        Option("drop_path", 0.0, "how often the student's last block is skipped, those before less (ViTs)", low=0.0, high=0.9),
        Option("small_crops", 8, "how many small crops beside the two large ones", low=0),
        Option("crop_split", 0.4, "large crops have at least this share of the image's area, small ones at most", low=0.0, high=1.0),
        *views.options(
            min_crop=0.05, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1, 0.5), solarize_p=(0.0, 0.2, 0.0)
        ),
    ),
)  # fmt: skip
