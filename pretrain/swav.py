"""SwAV: predict the cluster assignment of one crop from another, assignments in equal parts (Caron et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed
from virb.training.optimizers import parameter_groups
from virb.training.precision import widen


class SwAV(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        dim = options["projection_dim"]
        self.projector = projections.mlp([encoder.dim, options["hidden_dim"] or encoder.dim, dim])
        self.prototypes = nn.Linear(dim, options["prototypes"], bias=False)
        size = max(0, memory.queue_size(options["queue"], 3840, setup.n_images))
        self.queues = nn.ModuleList(memory.Queue(size, dim) for _ in range(2))
        self.latest = []  # projections of the update under way; they join the queues when it is done
        split, small = options["crop_split"], augment.small_crop_size(setup.image_size)
        self.view = views.view(options, setup, crop_scale=(split, 1.0))
        self.small_view = views.view(options, setup, size=small, crop_scale=(options["min_crop"], split))

    def views(self, images, generator):
        n = self.options["small_crops"]
        *small, one, two = augment.together([*[self.small_view] * n, self.view, self.view], images, generator)
        return [one, two, *small]

    def before_step(self, progress):
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def forward(self, views, batch, progress):
        # One pass for each resolution.
        features = [self.encoder(torch.cat(views[:2]))] + ([self.encoder(torch.cat(views[2:]))] if views[2:] else [])
        z = F.normalize(widen(self.projector(torch.cat(features))), dim=1)
        scores = self.prototypes(z).chunk(len(views))
        z = z.detach().chunk(len(views))
        use_queue = self.options["queue"] >= 0 and progress.epoch >= self.options["queue_epoch"]
        codes = []
        for crop, queue in enumerate(self.queues):
            known = widen(scores[crop].detach())
            if use_queue and queue.is_full:
                kept = queue.items.tensor_split(distributed.world_size())[distributed.rank()]
                known = torch.cat([widen(self.prototypes(kept).detach()), known])
            assigned = losses.sinkhorn(
                known, self.options["epsilon"], self.options["iterations"], reduce=distributed.sinkhorn_reduce
            )
            codes.append(assigned[-len(views[0]) :])
        self.latest.append([distributed.gather(crop) for crop in z[:2]])
        return Outcome(losses.swapped_prediction(scores, codes, self.options["temperature"]), z[0])

    def after_backward(self, progress):
        if progress.epoch < self.options["freeze_epochs"]:
            self.prototypes.weight.grad = None

    def after_step(self, progress):
        for pair in self.latest:
            for queue, z in zip(self.queues, pair, strict=True):
                queue.push(z)
        self.latest = []

    def groups(self, weight_decay):
        return parameter_groups(self, weight_decay, decay_all=True)

    def projection(self):
        return self.projector


METHOD = Method(
    name="swav",
    role="self-supervised",
    source="Caron et al. 2020, Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (NeurIPS)",
    learner=SwAV,
    # The authors' script for 256 images an update: SGD under LARC, 0.6 to 0.0006 on a cosine, weight decay 1e-6, no
    # warm-up, a queue of 3840 from epoch 15, prototypes frozen for the first epoch. At 4096: --lr 4.8, --warmup-epochs
    # 10, and no queue (queue=-1).
    training=Training("larc", lr=0.6, batch_size=256, epochs=200, weight_decay=1e-6, final_lr=0.0006),
    options=(
        Option("temperature", 0.1, "tau", low=0.001),
        Option("epsilon", 0.05, "weight of the entropy of the assignments", low=0.001),
        Option("iterations", 3, "of Sinkhorn-Knopp", low=1),
        Option("prototypes", 3000, "how many", low=2),
        Option("freeze_epochs", 1.0, "how long the prototypes stay as they start", low=0.0),
        Option(
            "queue",
            0,
            "projections kept; 0: the published 3840, or half the images if that is less; -1: no queue",
            low=-1,
        ),
        Option("queue_epoch", 15.0, "when the queue joins in", low=0.0),
        Option("projection_dim", 128, "the output dimension of the head", low=1),
        Option("hidden_dim", 2048, "its hidden units; 0: as many as the encoder's dimension", low=0),
        Option("small_crops", 6, "how many small crops beside the two large ones", low=0),
        Option(
            "crop_split",
            0.14,
            "large crops have at least this share of the image's area, small ones at most",
            low=0.0,
            high=1.0,
        ),
        *views.options(min_crop=0.05, jitter=views.SIMCLR_JITTER, blur_p=0.5),
    ),
)
