"""DINOv2's recipe: DINO and iBOT with heads apart, Sinkhorn-Knopp codes, and images spread by KoLeo (Oquab et al. 2024)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.errors import UsageError
from virb.networks.token_encoder import TokenEncoder
from virb.pretraining import distillation, initial, losses, masks, memory, patch_losses, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import distributed
from virb.training.optimizers import layer_groups
from virb.training.precision import widen

PARTS = ("encoder", "head", "patch_head")


class DINOv2(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(TokenEncoder(encoder, setup.image_size, hides=True), options, setup)
        self.head = distillation.head(encoder.dim, options, has_scale=True)
        wide = {**options, "bottleneck_dim": options["patch_bottleneck_dim"]}
        self.patch_head = distillation.head(self.encoder.width, wide, has_scale=True)
        initial.truncated_normal(self.head)
        initial.truncated_normal(self.patch_head)
        self.teacher = memory.MomentumCopy(self.parts())
        initial.drop_path(encoder, options["drop_path"], is_uniform=True)
        if options["koleo"] and setup.batch_size < 2:
            raise UsageError("dinov2 with koleo needs batches of at least 2 images.")
        self.crops = distillation.Crops(options, setup)

    def parts(self):
        return nn.ModuleDict({name: getattr(self, name) for name in PARTS})

    def views(self, images, generator):
        options, crops = self.options, self.crops(images, generator)
        how = {"p": options["mask_p"], "share": (options["min_hidden"], options["max_hidden"]), "least": 4}
        hidden = [masks.blocks(len(images), self.encoder.grid, generator, **how) for _ in "12"]
        return [*crops, *hidden]

    @torch.no_grad()
    def codes(self, images, hidden, temperature):
        """Return the teacher's outputs for images (2N, K), and its codes of images (2N, K) and hidden patches (M, K)."""
        encoder, head, patch_head = (self.teacher.module[name] for name in PARTS)
        tokens = encoder(images)
        outputs = widen(head(encoder.embedding(tokens)))
        patches = widen(patch_head(encoder.patches(tokens)[hidden]))
        reduce = distributed.sinkhorn_reduce
        return outputs, *(losses.sinkhorn(x, temperature, 3, reduce=reduce) for x in (outputs, patches))

    def forward(self, views, batch, progress):
        crops, hidden = views[:-2], torch.cat(views[-2:])
        large, tau = torch.cat(crops[:2]), self.options["student_temperature"]
        temperature = distillation.teacher_temperature(progress.epoch, self.options)
        outputs, image_codes, patch_codes = self.codes(large, hidden, temperature)
        tokens = self.encoder(large, hidden)
        features = [self.encoder.embedding(tokens)]
        if crops[2:]:
            features.append(self.encoder.embedding(self.encoder(torch.cat(crops[2:]))))
        student = self.head(torch.cat(features)).chunk(len(crops))
        image = losses.swapped_prediction(student, image_codes.chunk(2), tau)
        predicted = self.patch_head(self.encoder.patches(tokens)[hidden])
        patch = patch_losses.masked_prediction(predicted, patch_codes, hidden, tau)
        spread = sum(patch_losses.koleo(distributed.gather(z)) for z in features[0].chunk(2))
        loss = image + patch + self.options["koleo"] * spread
        parts = {"image_loss": image.detach(), "patch_loss": patch.detach(), "koleo_loss": spread.detach()}
        return Outcome(loss, outputs.chunk(2)[0] - distributed.mean(outputs.mean(dim=0)), parts)

    def after_backward(self, progress):
        for name in PARTS if self.options["clip"] else ():
            torch.nn.utils.clip_grad_norm_(getattr(self, name).parameters(), self.options["clip"])
        for head in (self.head, self.patch_head):
            distillation.rest(head[-1], progress.epoch, self.options)

    def after_step(self, progress):
        self.teacher.follow(self.parts(), memory.momentum_at(progress.done, self.options["momentum"]))

    def groups(self, weight_decay):
        decay, patch_scale = self.options["layer_decay"], self.options["patch_lr"]
        return layer_groups(
            self, weight_decay, n_blocks=len(self.encoder.net.blocks), decay=decay, patch_scale=patch_scale
        )

    def exported(self):
        return self.teacher.module["encoder"].backbone

    def projection(self):
        return self.teacher.module["head"][:-1]  # all but the prototypes


METHOD = Method(
    name="dinov2",
    role="self-supervised",
    source="Oquab et al. 2024, DINOv2: Learning Robust Visual Features without Supervision (TMLR)",
    learner=DINOv2,
    # Section 4 and the authors' configs/train/vitl14.yaml over ssl_default_config.yaml: AdamW .0002 x sqrt(batch / 1024), 80 of
    # 500 epochs of warm-up, cosine to 1e-6, weight decay from .04 to .2. Their network has layer scale and, with registers,
    # four of those: --arch vit --arch-option layer_scale=1 --arch-option registers=4.
    training=Training(
        "adamw", lr=0.0002, batch_size=1024, epochs=500, lr_rule="sqrt", weight_decay=0.04, final_weight_decay=0.2,
        warmup_epochs=80, final_lr=1e-6,
    ),
    options=(
        *distillation.TEMPERATURES,
        Option("momentum", 0.994, "of the teacher at the start; it rises to 1 on a cosine", low=0.0, high=1.0),
        Option("mask_p", 0.5, "share of the large crops in which patches are hidden", low=0.0, high=1.0),
        Option("min_hidden", 0.1, "smallest share of their patches that is hidden", low=0.0, high=1.0),
        Option("max_hidden", 0.5, "largest share", low=0.0, high=1.0),
        Option("koleo", 0.1, "weight of the spread of the images", low=0.0),
        Option("prototypes", 131072, "the output dimension of both heads", low=2),
        Option("hidden_dim", 2048, "hidden units of both heads", low=1),
        Option("bottleneck_dim", 384, "dimension before the last layer of the images' head", low=1),
        Option("patch_bottleneck_dim", 256, "and of the patches' head", low=1),
        Option("freeze_epochs", 1.0, "how long the last layers stay as they start", low=0.0),
        Option("clip", 3.0, "largest norm of the gradient of the encoder and of each head; 0: any", low=0.0),
        Option("drop_path", 0.4, "how often a block of the student is skipped", low=0.0, high=0.9),
        Option("layer_decay", 1.0, "a block's rate is this times the next one's", low=0.0, high=1.0),
        Option("patch_lr", 0.2, "the patch embedding's rate, as a share of the others'", low=0.0),
        Option("small_crops", 8, "how many small crops beside the two large ones", low=0),
        Option("crop_split", 0.32, "large crops have at least this share of the image's area, small ones at most", low=0.0, high=1.0),
        *views.options(
            min_crop=0.05, jitter=views.BYOL_JITTER, blur_p=(1.0, 0.1, 0.5), solarize_p=(0.0, 0.2, 0.0)
        ),
    ),
)  # fmt: skip
