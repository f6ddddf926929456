"""The losses of virb and lightly on the same numbers, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightly.loss import BarlowTwinsLoss, DINOLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss, VICRegLoss
from torch import Tensor, nn

from virb.pretraining import losses

LossOf = Callable[[Tensor], Tensor]


def pairs() -> dict[str, tuple[Tensor, LossOf, LossOf]]:
    """Return for each method what its loss is taken of, and the loss by virb and by lightly as functions of that."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 64, 32, dtype=torch.float64)
    unit = [nn.functional.normalize(torch.randn(64, 20, dtype=torch.float64), dim=1) for _ in range(6)]
    queue = nn.functional.normalize(torch.randn(256, 32, dtype=torch.float64), dim=1)
    bank = NTXentLoss(temperature=0.2, memory_bank_size=(256, 32)).double()
    bank.memory_bank.bank = queue.clone()
    center = torch.randn(20, dtype=torch.float64) / 10
    distillation = DINOLoss(20, 1 / 32, 3 / 64, 2, 0.1, 0.9).double()

    def swav(x: Tensor) -> Tensor:
        scores = [x, *unit[:4]]
        return losses.swapped_prediction(scores, [losses.sinkhorn(score.detach()) for score in scores[:2]])

    def dino(x: Tensor) -> Tensor:
        return losses.dino([x, *unit[:4]], unit[4:], center, 0.1, 3 / 64)

    def lightlys_dino(x: Tensor) -> Tensor:
        distillation.center = center[None, None].clone()
        return distillation(
            unit[4:], [x, *unit[:4]], epoch=1
        )  # it keeps temperatures in float32: one that is exact there

    cosine = NegativeCosineSimilarity()
    return {
        "simclr": (a, lambda x: losses.nt_xent(x, b, 0.2), lambda x: NTXentLoss(temperature=0.2)(x, b)),
        "moco-v2": (a, lambda x: losses.info_nce(x, b, queue, 0.2), lambda x: bank(x, b)),
        "swav": (unit[5], swav, lambda x: SwaVLoss()([x, unit[0]], unit[1:4])),
        "byol, simsiam": (a, lambda x: losses.negative_cosine(x, b), lambda x: cosine(x, b)),
        "barlow-twins": (a, lambda x: losses.barlow_twins(x, b), lambda x: BarlowTwinsLoss()(x, b)),
        "vicreg": (a, lambda x: losses.vicreg(x, b), lambda x: VICRegLoss()(x, b)),
        "dino": (unit[5], dino, lightlys_dino),
    }


def compare_losses() -> dict[str, tuple[float, float]]:
    """Return for each method how far both losses, and both gradients, are from each other, relative to lightly's."""
    apart = {}
    for name, (z, ours, theirs) in pairs().items():
        found = []
        for loss_of in (ours, theirs):
            x = z.clone().requires_grad_(True)
            loss = loss_of(x).sum()
            found.append((loss.detach(), *torch.autograd.grad(loss, x)))
        loss, gradient = (float((x - y).norm() / y.norm()) for x, y in zip(*found, strict=True))
        apart[name] = (loss, gradient)
    return apart
