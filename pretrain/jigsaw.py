"""Jigsaw: tell in which order, of a fixed set, the nine tiles of an image are shown (Noroozi, Favaro 2016)."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.errors import UsageError
from virb.networks import projections
from virb.pretraining import views
from virb.pretraining.learner import Learner, Outcome
from virb.system import devices
from virb.training import augment, distributed

TILES = augment.JigsawBoard.n_tiles
MOST = 10_000


@functools.lru_cache(maxsize=4)
def distant_permutations(n: int) -> np.ndarray:
    """Return ``n`` orders of nine tiles, (n, 9), far from each other in Hamming distance (the paper's Algorithm 1).

    Beginning with the identity, always that order is added whose mean distance to the ones before is largest; among
    equals, the one whose nearest is furthest. Candidates are every 13th of the 9! orders, which is as good and 13 times
    faster (100: mean 8.08, smallest 5; 2000: 8.00 and 2). Nothing is random: every run has the same classes.
    """
    if not 2 <= n <= MOST:
        raise UsageError(f"Option permutations={n}: expected 2 to {MOST}.")
    orders = np.array(list(itertools.islice(itertools.permutations(range(TILES)), 0, None, 13)), dtype=np.uint8)
    columns = np.ascontiguousarray(orders.T)
    total = np.zeros(len(orders), dtype=np.int32)
    nearest = np.full(len(orders), TILES, dtype=np.int32)
    chosen = [0]
    while len(chosen) < n:
        distance = np.zeros(len(orders), dtype=np.uint8)
        for column in columns:
            distance += column != column[chosen[-1]]
        total += distance
        np.minimum(nearest, distance, out=nearest)
        total[chosen[-1]] = -TILES * n  # never again
        chosen.append(int(np.argmax(total * (TILES + 1) + nearest)))
    return orders[chosen].astype(np.int64)


class Jigsaw(Learner):
    trains_on_tiles = True

    def __init__(self, encoder, options, setup):
        super().__init__(encoder, options, setup)
        self.register_buffer("orders", torch.from_numpy(distant_permutations(options["permutations"])))
        dim = options["tile_dim"]
        self.tile_head = nn.Sequential(*projections.mlp([encoder.dim, dim], last_norm="affine"), nn.ReLU(inplace=True))
        self.classifier = nn.Linear(TILES * dim, len(self.orders))
        self.board = augment.JigsawBoard(setup.image_size, options["min_crop"])
        # Every tile has a colour of its own, or the fringes of lenses would tell where it was (Section 4.2).
        self.tile_view = views.colours(options, setup)

    def views(self, images, generator):
        return [self.tile_view(self.board(images, generator).flatten(0, 1), generator)]

    def forward(self, views, batch, progress):
        tiles = self.tile_head(self.encoder(views[0])).unflatten(0, (-1, TILES))
        n, device = len(tiles), tiles.device
        # A tile's vector does not depend on its place, so it is the vectors that are put in order.
        drawn = devices.upload(torch.randint(len(self.orders), (n * distributed.world_size(),)), device)
        target = distributed.own_rows(distributed.first(drawn))
        shown = tiles[torch.arange(n, device=device)[:, None], self.orders[target]]
        logits = self.classifier(shown.flatten(1)).float()
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == target).float().mean()
        # No output to watch: tiles that are all alike give a loss that does not fall, which the log shows.
        return Outcome(F.cross_entropy(logits, target), metrics={"train_top1": accuracy})


METHOD = Method(
    name="jigsaw",
    role="self-supervised",
    source="Noroozi, Favaro 2016, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles (ECCV)",
    learner=Jigsaw,
    # VISSL's jigsaw_8gpu_resnet.yaml, by PIRL's authors, as the paper's own recipe is AlexNet's: SGD 0.1 at 256, weight
    # decay 1e-4, five epochs of warm-up from a quarter, a tenth at epochs 30, 60, 90 and 100 of 105, 2000 orders,
    # 1000 units a tile. The tiles are PIRL's, so that the two methods differ in what they learn from them alone.
    training=Training(
        "sgd", lr=0.1, batch_size=256, epochs=105, weight_decay=1e-4, warmup_epochs=5, warmup_lr=0.025,
        schedule="step", milestones=(30 / 105, 60 / 105, 90 / 105, 100 / 105),
    ),
    options=(
        Option("permutations", 2000, f"how many orders are told apart, at most {MOST}"),
        Option("tile_dim", 1000, "units a tile, before the nine are joined", low=1),
        *views.options(min_crop=0.6, jitter=views.PIRL_JITTER, jitter_p=1.0, is_cropped=False),
    ),
)  # fmt: skip
