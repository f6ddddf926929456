"""MoCo v1: a query finds its key among a queue of older keys from a momentum encoder (He et al. 2020)."""

from __future__ import annotations

from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.pretraining import batch_groups, losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed
from virb.training.optimizers import parameter_groups


class MoCoV1(Learner):
    sync_batch_norm = False

    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.head = nn.Linear(encoder.dim, options["projection_dim"])
        self.groups_of_batch = batch_groups.own_groups(options["bn_groups"], setup.batch_size)
        batch_groups.normalise_in_groups(encoder, self.groups_of_batch)
        self.key = memory.MomentumCopy(nn.Sequential(encoder, self.head))
        size = memory.queue_size(options["queue"], 65536, setup.n_images)
        self.queue = memory.Queue(size, options["projection_dim"])
        self.keys = []  # of the update under way; they join the queue when it is done
        self.view = views.view(options, setup)

    def views(self, images, generator):
        return augment.together([self.view, self.view], images, generator)

    def forward(self, views, batch, progress):
        shuffle = distributed.Shuffle(len(views[1]), views[1].device, self.groups_of_batch)
        key = shuffle.restore(self.key(shuffle.mix(views[1])))
        self.keys.append(distributed.gather(key))
        query = self.head(self.encoder(views[0]))
        return Outcome(losses.info_nce(query, key, self.queue.items, self.options["temperature"]), query)

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
    name="moco-v1",
    role="self-supervised",
    source="He, Fan, Wu, Xie, Girshick 2020, Momentum Contrast for Unsupervised Visual Representation Learning (CVPR)",
    learner=MoCoV1,
    # Section 3.3 and the authors' main_moco.py: SGD 0.03 at 256, weight decay 1e-4, steps at epochs 120 and 160 of 200.
    training=Training(
        "sgd", lr=0.03, batch_size=256, epochs=200, weight_decay=1e-4, schedule="step", milestones=(0.6, 0.8)
    ),
    options=(
        Option("temperature", 0.07, "tau", low=0.001),
        Option("queue", 0, "how many keys are kept; 0: the published 65536, or half the images if that is less", low=0),
        Option("momentum", 0.999, "of the key network", low=0.0, high=1.0),
        Option("projection_dim", 128, "the output dimension of the linear head", low=1),
        Option(
            "bn_groups", 8, "parts of a batch that are normalised apart, keys shuffled among them (published: 8 GPUs)"
        ),
        *views.options(min_crop=0.2, jitter=(0.4, 0.4, 0.4, 0.4), jitter_p=1.0),
    ),
)
