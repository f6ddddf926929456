"""Train every method for a few updates in float64, alone or as one of several processes, and write down what came out.

    python distributed_worker.py FOLDER

`test_distributed.py` runs this once without and once with the variables of torchrun, and compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from virb import registry
from virb.contracts.method import Setup, Training
from virb.networks.backbones import build_backbone
from virb.networks.base import Backbone
from virb.pretraining.data import PretrainingData
from virb.pretraining.pixels import ArrayPixels
from virb.pretraining.plan import Plan
from virb.pretraining.reporting import Reporter
from virb.pretraining.trainer import Trainer
from virb.training import augment, distributed

N, BATCH, STEPS = 16, 8, 3
HEADS = {
    "barlow-twins": {"projection_dim": 12},
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "dino": {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "small_crops": 2, "freeze_epochs": 0.5},
    "dinov2": {
        "hidden_dim": 16, "bottleneck_dim": 8, "patch_bottleneck_dim": 8, "prototypes": 12, "small_crops": 1,
        "freeze_epochs": 0.5, "drop_path": 0.0,
    },
    "i-jepa": {"predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2, "min_keep": 4},
    "ibot": {
        "hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "small_crops": 1, "freeze_epochs": 0.5, "drop_path": 0.0,
    },
    "jigsaw": {"permutations": 5, "tile_dim": 8},
    "mae": {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2},
    "moco-v1": {"queue": 20, "projection_dim": 8, "momentum": 0.9},
    "moco-v2": {"queue": 20, "projection_dim": 8, "momentum": 0.9, "small_crops": 1},
    "moco-v3": {"hidden_dim": 16, "projection_dim": 8},
    "pirl": {"projection_dim": 8, "negatives": 6},
    "simclr": {"projection_dim": 8},
    "simsiam": {"projection_dim": 16, "bottleneck_dim": 8},
    "swav": {
        "hidden_dim": 16, "projection_dim": 8, "prototypes": 10, "small_crops": 2, "queue": 9, "queue_epoch": 1,
        "freeze_epochs": 0.5,
    },
    "vicreg": {"projection_dim": 12},
}  # fmt: skip
VARIANTS = {
    "simclr, noise": ("simclr", {"augment": "crop+flip+jitter+gray+blur+solarize+cutout+rotate+noise"}, 1),
    "simclr, in two parts": ("simclr", {}, 2),
    "nt_logistic": ("simclr", {"loss": "nt_logistic", "semi_hard": True}, 1),
    "margin_triplet": ("simclr", {"loss": "margin_triplet"}, 1),
    "swav, in two parts": ("swav", {}, 2),
    "pirl, rotation": ("pirl", {"pretext": "rotation"}, 1),
    "dinov2, in two parts": ("dinov2", {}, 2),
}
OF_PATCHES = ("dinov2", "i-jepa", "ibot", "mae")


def cases() -> dict[str, tuple[str, dict, int]]:
    names = [name for name in registry.names("methods") if registry.load("methods", name).learner is not None]
    return {**{name: (name, {}, 1) for name in names}, **VARIANTS}


class Small(Backbone):
    dim = 16

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, self.dim, 3, stride=2), nn.BatchNorm2d(self.dim), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x).mean(dim=(2, 3))


def transformer() -> Backbone:
    return build_backbone("vit", dim=8, depth=2, heads=2, patch=4, hidden=16, image_size=16, pool="avg", layer_scale=0)


def data() -> PretrainingData:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 16, 16, 3)).astype(np.uint8)
    return PretrainingData("toy", "r1", ArrayPixels(images), np.arange(N), 16, np.arange(N) % 2, ("a", "b"))


def train(name: str, options: dict, accumulate: int, folder: Path) -> dict:
    method = registry.load("methods", name)
    setup = Setup(16, N, 2, BATCH // accumulate, STEPS, N // BATCH, augment.IMAGENET_MEAN, augment.IMAGENET_STD)
    torch.manual_seed(0)
    encoder = transformer() if name in OF_PATCHES else Small()
    learner = method.learner(encoder, method.resolve({**HEADS.get(name, {}), **options}), setup).double()
    views, after_backward = learner.views, learner.after_backward
    gradients: list[dict] = []

    def wide_views(images, generator):
        return [view.double() if view.is_floating_point() else view for view in views(images, generator)]

    def record(progress):
        gradients.append({k: p.grad.clone() for k, p in learner.named_parameters() if p.grad is not None})
        after_backward(progress)

    learner.views, learner.after_backward = wide_views, record
    # A plain optimiser at a small rate: the bits that a sum's order changes stay small over the steps.
    training = Training("sgd", 0.01, BATCH, 2, schedule="constant")
    plan = Plan(training, lr=0.01, steps=STEPS, batch_size=BATCH, accumulate=accumulate, log_steps=1, checkpoint_s=1e9)
    trainer = Trainer(learner, data(), plan, folder=folder, identity={})
    with Reporter(name, quiet=True) as reporter:
        trainer.run(reporter)
    log = trainer.log_path.read_text() if distributed.rank() == 0 else ""
    return {"state": learner.state_dict(), "gradients": gradients, "log": log}


def pieces() -> dict:
    """What is compared with hand-made references: gathering, and its gradient; shuffling; batch normalisation."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(6, 5, 4, 3, generator=generator, dtype=torch.float64)
    out: dict = {"x": x}
    mine = distributed.own_rows(x).clone().requires_grad_()
    whole = distributed.gather(mine)
    (whole * (distributed.rank() + 1)).square().sum().backward()
    out["gather"], out["gather_grad"] = whole.detach(), mine.grad
    mine = distributed.own_rows(x).clone().requires_grad_()
    centre = distributed.mean(mine.mean(dim=0))
    (centre * (distributed.rank() + 1)).sum().backward()
    out["mean"], out["mean_grad"] = centre.detach(), mine.grad

    torch.manual_seed(distributed.rank())
    shuffle = distributed.Shuffle(3, torch.device("cpu"))
    mine = distributed.own_rows(x)
    out["order"], out["mixed"], out["restored"] = shuffle.order, shuffle.mix(mine), shuffle.restore(shuffle.mix(mine))

    for kind, shape in ((nn.BatchNorm2d, (6, 5, 4, 3)), (nn.BatchNorm1d, (6, 60))):
        for affine in (True, False):
            torch.manual_seed(1)
            net = nn.Sequential(kind(shape[1], affine=affine, momentum=0.3))
            if affine:
                nn.init.normal_(net[0].weight)
                nn.init.normal_(net[0].bias)
            net.double()
            distributed.synchronise_batch_norm(net, torch.device("cpu"))
            weight = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
            mine = distributed.own_rows(x.view(shape)).clone().requires_grad_()
            y = net(mine)
            (y * distributed.own_rows(weight)).sum().backward()
            net.eval()
            out[f"{kind.__name__}, {affine}"] = {
                "y": y.detach(), "grad": mine.grad, "state": net.state_dict(), "eval": net(mine).detach(),
                "parameters": [p.grad for p in net.parameters()], "kind": type(net[0]).__name__,
            }  # fmt: skip
    return out


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.processes():
        result = {name: train(*case, folder / name) for name, case in cases().items()}
        if distributed.world_size() > 1:
            result["pieces"] = pieces()
        torch.save(result, folder / f"{distributed.rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
