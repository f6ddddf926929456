"""Same data, same budget, same backbone: virb's pretraining methods against lightly's (https://docs.lightly.ai).

    pip install --no-deps lightly lightly_utils       # beside virb; what is used of it needs no more
    python benchmarks/ssl_against_lightly.py [--methods simclr,byol] [--seeds 3] [--images 40960]

virb's side is `virb pretrain` itself. lightly's is its losses, heads and loops as its examples write them
(examples/pytorch/*.py of its repository), with the same first weights of the backbone, the same images in the same
order, virb's views (equal to the last bit), AdamW, schedule, batch and temperatures. What is left to differ is what the
libraries do differently: heads and their first weights, how batch normalisation is fed, losses, momentum copies, queues.
First it compares the losses on the same numbers, and the weights after a few updates with equal heads; the last table
has seeds in pairs. lightly is a development tool here and no dependency of virb.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ssl_training import (
    ARCH,
    ARCH_OPTIONS,
    BATCH_SIZE,
    LR,
    SIZE,
    VIEW_SIZE,
    WEIGHT_DECAY,
    Score,
    Scores,
    arguments,
    difference,
    spread,
    train,
    training_images,
    untrained,
)
from torch import Tensor, nn

from virb import registry
from virb.contracts.method import Setup
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess
from virb.pretraining import losses, memory
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Batch, Learner, Progress
from virb.pretraining.plan import stream_seed
from virb.training import augment, schedules

try:
    from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss
    from lightly.models import modules
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from lightly.utils.scheduler import cosine_schedule
except ImportError:
    sys.exit("This comparison needs lightly: pip install --no-deps lightly lightly_utils")

# What virb is told beside the common settings, and lightly's parts are given too. At a few epochs the published sizes
# of heads, queues and prototypes, and momenta of .999, are out of place; both sides get the same smaller ones.
OPTIONS: dict[str, dict[str, Any]] = {
    "simclr": {"temperature": 0.2, "min_crop": 0.2, "blur_p": 0.2},
    "moco-v2": {"temperature": 0.2, "queue": 1024, "momentum": 0.99, "bn_groups": 1},
    "swav": {
        "prototypes": 100,
        "epsilon": 0.01,
        "hidden_dim": 128,
        "queue": -1,
        "freeze_epochs": 0.0,
        "small_crops": 2,
        "crop_split": 0.2,
    },
    "byol": {"hidden_dim": 512, "projection_dim": 128, "min_crop": 0.2},
    "barlow-twins": {"projection_dim": 512, "min_crop": 0.2},
}


class Lightly(nn.Module):
    """One of lightly's examples: ``loss(views, step, steps)`` is the body of its loop up to the backward pass."""

    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__()
        self.backbone = backbone

    def momentum_copy(self, *parts: nn.Module) -> list[nn.Module]:
        copies = [copy.deepcopy(part) for part in parts]
        for part in copies:
            deactivate_requires_grad(part)
        return copies

    def loss(self, views: Sequence[Tensor], step: int, steps: int) -> Tensor:
        raise NotImplementedError

    def loss_together(self, views: Sequence[Tensor], step: int, steps: int) -> Tensor:
        """The loss where views of one size share a pass, as in virb, and so batch normalisation's statistics."""
        return self.loss(views, step, steps)


class SimCLR(Lightly):
    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__(backbone, dim)
        self.projection_head = modules.SimCLRProjectionHead(dim, dim, 128)
        self.criterion = NTXentLoss(temperature=OPTIONS["simclr"]["temperature"])

    def loss(self, views, step, steps):
        z0, z1 = (self.projection_head(self.backbone(view)) for view in views)
        return self.criterion(z0, z1)

    def loss_together(self, views, step, steps):
        return self.criterion(*self.projection_head(self.backbone(torch.cat(views))).chunk(2))


class MoCo(Lightly):
    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__(backbone, dim)
        self.projection_head = modules.MoCoProjectionHead(dim, dim, 128)
        self.backbone_momentum, self.projection_head_momentum = self.momentum_copy(backbone, self.projection_head)
        o = OPTIONS["moco-v2"]
        self.criterion = NTXentLoss(temperature=o["temperature"], memory_bank_size=(o["queue"], 128))

    def loss(self, views, step, steps):
        momentum = OPTIONS["moco-v2"]["momentum"]
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=momentum)
        query = self.projection_head(self.backbone(views[0]))
        key = self.projection_head_momentum(self.backbone_momentum(views[1])).detach()
        return self.criterion(query, key)


class SwaV(Lightly):
    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__(backbone, dim)
        self.projection_head = modules.SwaVProjectionHead(dim, OPTIONS["swav"]["hidden_dim"], 128)
        self.prototypes = modules.SwaVPrototypes(128, n_prototypes=OPTIONS["swav"]["prototypes"])
        self.criterion = SwaVLoss(sinkhorn_epsilon=OPTIONS["swav"]["epsilon"])

    def loss(self, views, step, steps):
        self.prototypes.normalize()
        found = [
            self.prototypes(nn.functional.normalize(self.projection_head(self.backbone(view)), dim=1, p=2))
            for view in views
        ]
        return self.criterion(found[:2], found[2:])

    def loss_together(self, views, step, steps):
        self.prototypes.normalize()
        features = torch.cat([self.backbone(torch.cat(part)) for part in (views[:2], views[2:])])
        z = nn.functional.normalize(self.projection_head(features), dim=1, p=2)
        found = self.prototypes(z).chunk(len(views))
        return self.criterion(found[:2], found[2:])


class BYOL(Lightly):
    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__(backbone, dim)
        hidden, out = OPTIONS["byol"]["hidden_dim"], OPTIONS["byol"]["projection_dim"]
        self.projection_head = modules.BYOLProjectionHead(dim, hidden, out)
        self.prediction_head = modules.BYOLPredictionHead(out, hidden, out)
        self.backbone_momentum, self.projection_head_momentum = self.momentum_copy(backbone, self.projection_head)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, views, step, steps):
        momentum = cosine_schedule(step, steps, 0.99, 1)
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=momentum)
        p0, p1 = (self.prediction_head(self.projection_head(self.backbone(view))) for view in views)
        with torch.no_grad():
            z0, z1 = (self.projection_head_momentum(self.backbone_momentum(view)) for view in views)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class BarlowTwins(Lightly):
    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__(backbone, dim)
        width = OPTIONS["barlow-twins"]["projection_dim"]
        self.projection_head = modules.BarlowTwinsProjectionHead(dim, width, width)
        self.criterion = BarlowTwinsLoss()

    def loss(self, views, step, steps):
        z0, z1 = (self.projection_head(self.backbone(view)) for view in views)
        return self.criterion(z0, z1)


MODELS: dict[str, Callable[[nn.Module, int], Lightly]] = {
    "simclr": SimCLR,
    "moco-v2": MoCo,
    "swav": SwaV,
    "byol": BYOL,
    "barlow-twins": BarlowTwins,
}


def compare_losses() -> None:
    """Print how far loss and gradient of both are from each other on the same random projections."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 64, 32, dtype=torch.float64)
    queue = nn.functional.normalize(torch.randn(256, 32, dtype=torch.float64), dim=1)
    crops = [nn.functional.normalize(torch.randn(64, 20, dtype=torch.float64), dim=1) for _ in range(4)]
    bank = NTXentLoss(temperature=0.2, memory_bank_size=(256, 32)).double()
    bank.memory_bank.bank.copy_(queue)

    def swav(x: Tensor) -> Tensor:
        scores = [x, *crops]
        return losses.swapped_prediction(scores, [losses.sinkhorn(score.detach()) for score in scores[:2]])

    pairs: dict[str, tuple[Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
        "simclr": (a, lambda x: losses.nt_xent(x, b, 0.2), lambda x: NTXentLoss(temperature=0.2)(x, b)),
        "moco-v2": (a, lambda x: losses.info_nce(x, b, queue, 0.2), lambda x: bank(x, b)),
        "swav": (crops[3], swav, lambda x: SwaVLoss()([x, crops[0]], crops[1:])),
        "byol": (a, lambda x: losses.negative_cosine(x, b), lambda x: NegativeCosineSimilarity()(x, b)),
        "barlow-twins": (a, lambda x: losses.barlow_twins(x, b), lambda x: BarlowTwinsLoss()(x, b)),
    }
    print("| loss | relative difference of the loss | of its gradient |\n|---|---|---|")
    for name, (z, ours, theirs) in pairs.items():
        found = []
        for loss_of in (ours, theirs):
            x = z.clone().requires_grad_(True)
            loss = loss_of(x).sum()
            found.append((loss.detach(), *torch.autograd.grad(loss, x)))
        apart = [float((x - y).norm() / y.norm()) for x, y in zip(*found, strict=True)]
        print(f"| {name} | {apart[0]:.0e} | {apart[1]:.0e} |", flush=True)


def learner_of(name: str, start: FrozenEncoder, data: PretrainingData, *, seed: int, images: int) -> Learner:
    """Return virb's method on a copy of ``start``."""
    setup = Setup(
        image_size=VIEW_SIZE,
        n_images=len(data),
        n_classes=len(data.classes),
        batch_size=BATCH_SIZE,
        steps=images // BATCH_SIZE,
        steps_per_epoch=len(data) // BATCH_SIZE,
        mean=augment.IMAGENET_MEAN,
        std=augment.IMAGENET_STD,
        seed=seed,
    )
    method = registry.load("methods", name)
    return method.learner(start.trainable_copy(), method.resolve(OPTIONS[name]), setup).train()


def batches(learner: Learner, data: PretrainingData) -> Iterator[tuple[np.ndarray, list[Tensor]]]:
    """Yield what virb's trainer shows in each step of a run: positions of the images, and their views."""
    setup = learner.setup
    for step in range(setup.steps):
        epoch, place = divmod(step, setup.steps_per_epoch)
        if place == 0:
            order = np.random.Generator(np.random.PCG64(stream_seed(setup.seed, "order", epoch))).permutation(len(data))
        index = order[place * BATCH_SIZE : (place + 1) * BATCH_SIZE]
        generator = torch.Generator().manual_seed(stream_seed(setup.seed, "views", step))
        views = learner.views(torch.from_numpy(data.batch(index)), generator)
        yield index, [view.contiguous(memory_format=torch.channels_last) for view in views]


def compare_updates(name: str, start: FrozenEncoder, *, updates: int = 5) -> None:
    """Print how far the backbones are from each other after one update and after some, heads and queues being equal.

    Both take plain, small steps of gradient descent, with the loss in lightly's scale. The distance
    is a share of how far the weights have moved. Here lightly's SimCLR and SwAV take views of one size in one pass.
    """
    data = training_images()
    learner = learner_of(name, start, data, seed=0, images=updates * BATCH_SIZE)
    model = MODELS[name](start.trainable_copy(), start.dim).train()
    heads = {"moco-v2": "head"}.get(name, "projector")
    setattr(learner, heads, copy.deepcopy(model.projection_head))
    if name == "moco-v2":
        learner.key = memory.MomentumCopy(nn.Sequential(learner.encoder, learner.head))
        model.criterion.memory_bank.bank.copy_(learner.queue.items)
    elif name == "swav":
        with torch.no_grad():
            model.prototypes.heads[0].bias.zero_()  # virb's prototypes have none, as published
            learner.prototypes.weight.copy_(model.prototypes.heads[0].weight)
        model.prototypes.heads[0].bias.requires_grad_(False)
    elif name == "byol":
        learner.predictor = copy.deepcopy(model.prediction_head)
        learner.target = memory.MomentumCopy(nn.Sequential(learner.encoder, learner.projector))
    scale = {"byol": 0.25}.get(name, 1.0)  # 4 + 2 (a + b) against (a + b) / 2
    optimizers = [
        torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.01) for module in (learner, model)
    ]
    begun, found = weights(model.backbone), []
    for step, (index, views) in enumerate(batches(learner, data)):
        progress = Progress(step, updates, learner.setup.steps_per_epoch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        learner.before_step(progress)
        (scale * learner(views, Batch(torch.from_numpy(index), None), progress).loss).backward()
        model.loss_together(views, step, updates).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
        learner.after_step(progress)
        ours, theirs = weights(learner.encoder), weights(model.backbone)
        found.append(float((ours - theirs).norm() / (theirs - begun).norm()))
    print(f"| {name} | {found[0]:.0e} | {found[-1]:.0e} |", flush=True)


def weights(network: nn.Module) -> Tensor:
    """Return a copy of all weights in one row."""
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


def train_lightly(name: str, start: FrozenEncoder, *, seed: int, images: int) -> FrozenEncoder:
    """Train lightly's model from the weights of ``start``, on the views that virb's run of this seed sees."""
    data = training_images()
    learner = learner_of(name, start, data, seed=seed, images=images)
    steps = learner.setup.steps
    warmup = min(learner.setup.steps_per_epoch, steps // 10)
    torch.manual_seed(stream_seed(seed, "lightly"))
    model = MODELS[name](start.trainable_copy(), start.dim).train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=LR, betas=(0.9, 0.999), weight_decay=WEIGHT_DECAY
    )
    for step, (_, views) in enumerate(batches(learner, data)):
        for group in optimizer.param_groups:
            group["lr"] = schedules.learning_rate(step, steps, peak=LR, warmup=warmup)
        model.loss(views, step, steps).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return FrozenEncoder(
        model.backbone,
        name=f"lightly-{name}-{seed}",
        arch=ARCH,
        arch_options=ARCH_OPTIONS,
        preprocess=Preprocess(size=SIZE),
    )


def main() -> None:
    args = arguments(__doc__, list(MODELS))
    compare_losses()
    scores, seeds = Scores(args.scores), range(args.seeds)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        starts = [untrained(folder, seed) for seed in seeds]
        print("\n| method | distance of the backbones after one update | after five |\n|---|---|---|")
        for name in args.methods:
            compare_updates(name, starts[0])
        score = Score()
        floor = [scores.get(f"untrained, seed {k}", partial(score, starts[k])) for k in seeds]
        print(f"\nuntrained: {spread(floor)}", flush=True)
        print("\n| method | virb | lightly | virb less lightly |\n|---|---|---|---|", flush=True)
        for name in args.methods:
            ours, theirs = [], []
            for k in seeds:
                common = {"seed": k, "images": args.images}
                what = f"{name}, {args.images} images, seed {k}"
                mine = partial(train, name, folder, options=OPTIONS[name], **common)
                other = partial(train_lightly, name, starts[k], **common)
                ours.append(scores.get(f"virb {what}", lambda run=mine: score(run())))
                theirs.append(scores.get(f"lightly {what}", lambda run=other: score(run())))
            print(f"| {name} | {spread(ours)} | {spread(theirs)} | {difference(ours, theirs)} |", flush=True)


if __name__ == "__main__":
    main()
