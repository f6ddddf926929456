"""PIRL: an image and its jigsaw (or rotation) agree with one memory of the image (Misra, van der Maaten 2020)."""

from __future__ import annotations

import torch
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.networks import projections
from virb.pretraining import losses, memory, views
from virb.pretraining.learner import Learner, Outcome
from virb.training import augment, distributed, image_ops
from virb.training.optimizers import parameter_groups


class PIRL(Learner):
    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        dim = options["projection_dim"]
        kind = options["projection"]
        norm = options["head_norm"]
        self.image_head = projections.projection(kind, encoder.dim, dim, norm=norm)
        self.trains_on_tiles = options["pretext"] == "jigsaw"
        if self.trains_on_tiles:
            self.tile_head = projections.projection(kind, encoder.dim, dim, norm=norm)
            self.transformed_head = nn.Linear(augment.JigsawBoard.n_tiles * dim, dim)
        else:
            self.transformed_head = projections.projection(kind, encoder.dim, dim, norm=norm)
        self.bank = memory.MemoryBank(setup.n_images, dim, options["memory_momentum"])
        self.seen = []  # what enters the bank when the update is done

        self.board = augment.JigsawBoard(setup.image_size)
        self.view = views.view(options, setup)
        self.tile_view = views.colours(options, setup)  # every tile has a colour of its own

    def views(self, images, generator):
        view = self.view(images, generator)
        if self.options["pretext"] == "rotation":
            turns = (4 * augment.rand(len(images), generator=generator, device=generator.device)).long()
            return [view, image_ops.rotate90(self.view(images, generator), turns)]
        n = len(images)
        tiles = self.board(images, generator)
        order = augment.rand(n, self.board.n_tiles, generator=generator, device=images.device).argsort(dim=1)
        tiles = tiles[torch.arange(n, device=images.device)[:, None], order]
        return [view, self.tile_view(tiles.flatten(0, 1), generator)]

    def forward(self, views, batch, progress):
        image = self.image_head(self.encoder(views[0]))
        if self.options["pretext"] == "jigsaw":
            tiles = self.tile_head(self.encoder(views[1]))
            transformed = self.transformed_head(tiles.view(len(image), -1))
        else:
            transformed = self.transformed_head(self.encoder(views[1]))
        own = self.bank.items[batch.index]
        index = distributed.gather(batch.index)
        n, rows = self.options["negatives"], None
        if self.options["negatives_of"] == "image":
            negatives, rows = self.bank.items, self.bank.rows_for(n, index)
        else:
            negatives = self.bank.draw(n, index)
        tau, weight = self.options["temperature"], self.options["weight"]
        contrast = losses.info_nce if self.options["loss"] == "cross-entropy" else losses.pirl_nce
        # Equation 6: both the transformed image and the image itself are told from other images' memories.
        loss = weight * contrast(transformed, own, negatives, tau, rows=rows)
        loss = loss + (1 - weight) * contrast(image, own, negatives, tau, rows=rows)
        self.seen.append((index, distributed.gather(image.detach())))
        return Outcome(loss, image)

    def after_step(self, progress):
        for index, image in self.seen:
            self.bank.update(index, image)
        self.seen = []

    def groups(self, weight_decay):
        return parameter_groups(self, weight_decay, decay_all=self.options["decay_bias"], spare_norms=True)

    def projection(self):
        return self.image_head


METHOD = Method(
    name="pirl",
    role="self-supervised",
    source="Misra, van der Maaten 2020, Self-Supervised Learning of Pretext-Invariant Representations (CVPR)",
    learner=PIRL,
    # Section 3: SGD 0.12 to 0.00012 on a cosine at 1024, weight decay 1e-4, 800 epochs.
    training=Training("sgd", lr=0.12, batch_size=1024, epochs=800, weight_decay=1e-4, final_lr=0.00012),
    options=(
        Option("pretext", "jigsaw", "the transformation", choices=("jigsaw", "rotation")),
        Option("temperature", 0.07, "tau (0.1 with a nonlinear projection)", low=0.001),
        Option("weight", 0.5, "lambda, the weight of the transformed image's loss", low=0.0, high=1.0),
        Option(
            "negatives", 32000, "entries of the memory bank that a batch is told from; all others if they are fewer"
        ),
        Option("memory_momentum", 0.5, "of the memory bank", low=0.0, high=1.0),
        Option("projection", "linear", "the heads", choices=("linear", "nonlinear")),
        Option("projection_dim", 128, "their output dimension", low=1),
        Option("head_norm", True, "batch normalisation in nonlinear heads; the authors' code has none", is_later=True),
        Option(
            "loss",
            "nce",
            "Equation 5, or what the authors' code trains nonlinear heads with (InfoNCE)",
            choices=("nce", "cross-entropy"),
            is_later=True,
        ),
        Option(
            "negatives_of",
            "batch",
            "each image may draw its own negatives, as in the authors' code",
            choices=("batch", "image"),
            is_later=True,
        ),
        Option("decay_bias", True, "weight decay of biases; the authors' code has none", is_later=True),
        *views.options(min_crop=0.08, jitter=views.PIRL_JITTER, jitter_p=1.0),
    ),
)
