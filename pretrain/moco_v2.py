"""MoCo v2: a query finds its key among a queue of older keys; MLP head, stronger views (Chen et al. 2020)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import batch_groups, losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed
from virb.training.optimizers import parameter_groups


class MoCoV2(Learner):
    sync_batch_norm = False

    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        dim = options["projection_dim"]
        self.head = projections.mlp([encoder.dim, options["hidden_dim"] or encoder.dim, dim], norm=False)
        self.groups_of_batch = batch_groups.own_groups(options["bn_groups"], setup.batch_size)
        batch_groups.normalise_in_groups(encoder, self.groups_of_batch)
        self.key = memory.MomentumCopy(nn.Sequential(encoder, self.head))
        self.queue = memory.Queue(memory.queue_size(options["queue"], 65536, setup.n_images), dim)
        self.keys = []  # of the update under way; they join the queue when it is done
        small = augment.small_crop_size(setup.image_size)
        self.view = views.view(options, setup)
        self.small_view = views.view(options, setup, size=small, crop_scale=(0.05, 0.14))

    def views(self, images, generator):
        n = self.options["small_crops"]
        *small, one, two = augment.together([*[self.small_view] * n, self.view, self.view], images, generator)
        return [one, two, *small]

    def forward(self, views, batch, progress):
        shuffle = distributed.Shuffle(len(views[1]), views[1].device, self.groups_of_batch)
        key = shuffle.restore(self.key(shuffle.mix(views[1])))
        self.keys.append(distributed.gather(key))
        queries = [self.head(self.encoder(view)) for view in (views[0], *views[2:])]
        terms = [losses.info_nce(q, key, self.queue.items, self.options["temperature"]) for q in queries]
        return Outcome(torch.stack(terms).mean(), queries[0])

    def after_step(self, progress):
        for key in self.keys:
            self.queue.push(key)
        self.keys = []
        self.key.follow(nn.Sequential(self.encoder, self.head), self.options["momentum"])

    def groups(self, weight_decay):
        return parameter_groups(self, weight_decay, decay_all=True)

    def projection(self):
        return self.head


METHOD = Method(
    name="moco-v2",
    role="self-supervised",
    source="Chen, Fan, Girshick, He 2020, Improved Baselines with Momentum Contrastive Learning (arXiv:2003.04297)",
    learner=MoCoV2,
    # The authors' main_moco.py: SGD 0.03 at 256, momentum 0.9, weight decay 1e-4 on everything, cosine, 200 epochs.
    training=Training("sgd", lr=0.03, batch_size=256, epochs=200, weight_decay=1e-4, schedule="cosine"),
    options=(
        Option("temperature", 0.2, "tau", low=0.001),
        Option("queue", 0, "how many keys are kept; 0: the published 65536, or half the images if that is less", low=0),
        Option("momentum", 0.999, "of the key network", low=0.0, high=1.0),
        Option("projection_dim", 128, "the output dimension of the head", low=1),
        Option("hidden_dim", 0, "its hidden units; 0: as many as the encoder's dimension", low=0),
        Option(
            "bn_groups", 8, "parts of a batch that are normalised apart, keys shuffled among them (published: 8 GPUs)"
        ),
        *views.options(min_crop=0.2, jitter=views.MOCO_JITTER, blur_p=0.5),
        Option(
            "small_crops", 0, "further small queries; 6 is MoCo v2 + MultiCrop (Caron et al. 2020, Appendix I)", low=0
        ),
    ),
)
