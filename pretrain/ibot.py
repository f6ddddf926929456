"""iBOT: DINO on images, and on patches: what the student cannot see, its teacher can (Zhou et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.networks.token_encoder import TokenEncoder
from virb.pretraining import distillation, initial, losses, masks, memory, patch_losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import distributed
from virb.training.optimizers import clip_each
from virb.training.precision import widen


class IBOT(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(TokenEncoder(encoder, setup.image_size, hides=True), options, setup)
        self.head = distillation.head(encoder.dim, options, has_scale=True)
        initial.truncated_normal(self.head)
        self.teacher = memory.MomentumCopy(nn.ModuleDict({"encoder": self.encoder, "head": self.head}))
        initial.drop_path(encoder, options["drop_path"])
        self.register_buffer("centers", torch.zeros(2, options["prototypes"]))  # of images and of patches
        self.outputs = []  # the teacher's means in the update under way; they move the centres when it is done
        self.crops = distillation.Crops(options, setup)

    def views(self, images, generator):
        grid, options, crops = self.encoder.grid, self.options, self.crops(images, generator)
        share, least = (options["min_hidden"], options["max_hidden"]), (grid // 3) ** 2
        hidden = [
            masks.blocks(len(images), grid, generator, p=options["mask_p"], share=share, least=least) for _ in "12"
        ]
        return [*crops, *hidden]

    @torch.no_grad()
    def targets(self, images, temperature):
        """Return the teacher's outputs for images (2N, K), and its codes of their patches (2N, L, K)."""
        encoder, head = self.teacher.module["encoder"], self.teacher.module["head"]
        tokens = encoder(images)
        image, patches = widen(head(encoder.embedding(tokens))), widen(head(encoder.patches(tokens)))
        self.outputs.append(distributed.mean(torch.stack([image.mean(dim=0), patches.mean(dim=(0, 1))])))
        return image, F.softmax((patches - self.centers[1]) / temperature, dim=2)

    def forward(self, views, batch, progress):
        crops, hidden = views[:-2], torch.cat(views[-2:])
        large = torch.cat(crops[:2])
        temperature = distillation.teacher_temperature(progress.epoch, self.options)
        teacher, codes = self.targets(large, temperature)
        tokens = self.encoder(large, hidden)
        features = [self.encoder.embedding(tokens)]
        if crops[2:]:
            features.append(self.encoder.embedding(self.encoder(torch.cat(crops[2:]))))
        student = self.head(torch.cat(features)).chunk(len(crops))
        tau = self.options["student_temperature"]
        image = losses.dino(student, teacher.chunk(2), self.centers[0], tau, temperature)
        predicted = self.head(self.encoder.patches(tokens)[hidden])
        patch = patch_losses.masked_prediction(predicted, codes[hidden], hidden, tau)
        output = teacher.chunk(2)[0] - self.centers[0]
        return Outcome(image + patch, output, {"image_loss": image.detach(), "patch_loss": patch.detach()})

    def after_backward(self, progress):
        clip_each([p.grad for p in self.parameters() if p.grad is not None], self.options["clip"])
        distillation.rest(self.head[-1], progress.epoch, self.options)

    def after_step(self, progress):
        mean = torch.stack(self.outputs).mean(dim=0)
        self.outputs = []
        self.centers.lerp_(mean, 1 - self.options["center_momentum"])
        momentum = memory.momentum_at(progress.done, self.options["momentum"])
        self.teacher.follow(nn.ModuleDict({"encoder": self.encoder, "head": self.head}), momentum)

    def exported(self):
        return self.teacher.module["encoder"].backbone

    def projection(self):
        return self.teacher.module["head"][:-1]  # all but the prototypes


METHOD = Method(
    name="ibot",
    role="self-supervised",
    source="Zhou et al. 2022, iBOT: Image BERT Pre-Training with Online Tokenizer (ICLR)",
    learner=IBOT,
    # Section 4 and the authors' README for ViT-S/16: AdamW .0005 x batch / 256 at 1024, ten epochs of warm-up, cosine to 1e-6,
    # weight decay from .04 to .4.
    training=Training(
        "adamw", lr=0.002, batch_size=1024, epochs=800, weight_decay=0.04, final_weight_decay=0.4, warmup_epochs=10,
        final_lr=1e-6,
    ),
    options=(
        *distillation.TEMPERATURES,
        Option("momentum", 0.996, "of the teacher at the start; it rises to 1 on a cosine", low=0.0, high=1.0),
        Option("center_momentum", 0.9, "of the two centres", low=0.0, high=1.0),
        Option("mask_p", 0.5, "share of the large crops in which patches are hidden", low=0.0, high=1.0),
        Option("min_hidden", 0.1, "smallest share of their patches that is hidden", low=0.0, high=1.0),
        Option("max_hidden", 0.5, "largest share", low=0.0, high=1.0),
        Option("prototypes", 8192, "the output dimension, for images and patches", low=2),
        Option("hidden_dim", 2048, "hidden units of the head", low=1),
        Option("bottleneck_dim", 256, "dimension before the last layer", low=1),
        Option("freeze_epochs", 1.0, "how long the last layer stays as it starts", low=0.0),
        Option("clip", 3.0, "largest norm of a gradient, tensor by tensor; 0: any", low=0.0),
        Option("drop_path", 0.1, "how often the student's last block is skipped, those before less", low=0.0, high=0.9),
        Option("small_crops", 10, "how many small crops beside the two large ones", low=0),
        Option("crop_split", 0.25, "large crops have at least this share of the image's area, small ones at most", low=0.0, high=1.0),
        *views.options(
            min_crop=0.05, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1, 0.5), solarize_p=(0.0, 0.2, 0.0)
        ),
    ),
)  # fmt: skip
