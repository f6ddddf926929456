"""lightly's methods as its examples write them (examples/pytorch/*.py of its repository), at the options of a run of virb.

``loss(views, progress)`` is the body of an example's loop up to the backward pass, ``after_backward`` what it does to the
gradients. Where the sizes of heads, momenta, temperatures and queues are options of virb's method, they are a run's; all else is
lightly's. Momenta follow lightly's cosine update by update, as in its benchmarks/imagenet (its examples: epoch by epoch).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightly.loss import BarlowTwinsLoss, DINOLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.models import modules
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from virb.contracts.method import Setup
from virb.pretraining.learner import Progress
from virb.training.optimizers import clip_each


class Lightly(nn.Module):
    """One of lightly's examples on ``backbone``, whose embedding has ``dim`` dimensions."""

    def __init__(self, backbone: nn.Module, dim: int, options: Mapping[str, Any], setup: Setup) -> None:
        super().__init__()
        self.backbone = backbone
        self.options = options
        self.steps_per_epoch = setup.steps_per_epoch

    def momentum_copy(self, part: nn.Module) -> nn.Module:
        part = copy.deepcopy(part)
        deactivate_requires_grad(part)
        return part

    def momentum(self, progress: Progress) -> float:
        return cosine_schedule(progress.step, progress.steps, self.options["momentum"], 1)

    def loss(self, views: Sequence[Tensor], progress: Progress) -> Tensor:
        raise NotImplementedError

    def loss_together(self, views: Sequence[Tensor], progress: Progress) -> Tensor:
        """The loss where views of one size share a pass, as in virb, and so batch normalisation's statistics."""
        return self.loss(views, progress)

    def after_backward(self, progress: Progress) -> None:
        """What is done to the gradients."""

    def kept(self) -> nn.Module:
        """The network that is kept in the end."""
        return self.backbone


class TwoProjections(Lightly):
    """Examples whose criterion takes the projections of two views, each from a pass of its own."""

    def loss(self, views, progress):
        z0, z1 = (self.projection_head(self.backbone(view)) for view in views)
        return self.criterion(z0, z1)


class SimCLR(TwoProjections):
    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        hidden = options["hidden_dim"] or dim
        self.projection_head = modules.SimCLRProjectionHead(dim, hidden, options["projection_dim"])
        self.criterion = NTXentLoss(temperature=options["temperature"])

    def loss_together(self, views, progress):
        return self.criterion(*self.projection_head(self.backbone(torch.cat(views))).chunk(2))


class MoCo(Lightly):
    """MoCo v2. On one process lightly normalises the batch as a whole and shuffles no keys."""

    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        hidden, out = options["hidden_dim"] or dim, options["projection_dim"]
        self.projection_head = modules.MoCoProjectionHead(dim, hidden, out)
        self.backbone_momentum = self.momentum_copy(backbone)
        self.projection_head_momentum = self.momentum_copy(self.projection_head)
        self.criterion = NTXentLoss(temperature=options["temperature"], memory_bank_size=(options["queue"], out))

    def loss(self, views, progress):
        update_momentum(self.backbone, self.backbone_momentum, m=self.options["momentum"])
        update_momentum(self.projection_head, self.projection_head_momentum, m=self.options["momentum"])
        x_query, x_key = views
        query = self.projection_head(self.backbone(x_query))
        key = self.projection_head_momentum(self.backbone_momentum(x_key)).detach()
        return self.criterion(query, key)


class SwaV(Lightly):
    """SwAV without a queue."""

    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        assert options["queue"] < 0, "lightly's example with a queue is another one"
        out = options["projection_dim"]
        self.projection_head = modules.SwaVProjectionHead(dim, options["hidden_dim"] or dim, out)
        frozen = sum(step / self.steps_per_epoch < options["freeze_epochs"] for step in range(setup.steps))
        self.prototypes = modules.SwaVPrototypes(out, options["prototypes"], n_steps_frozen_prototypes=frozen)
        self.criterion = SwaVLoss(options["temperature"], options["iterations"], options["epsilon"])

    def loss(self, views, progress):
        self.prototypes.normalize()
        found = []
        for view in views:
            z = nn.functional.normalize(self.projection_head(self.backbone(view)), dim=1, p=2)
            found.append(self.prototypes(z, progress.step))
        return self.criterion(found[:2], found[2:])

    def loss_together(self, views, progress):
        self.prototypes.normalize()
        features = torch.cat([self.backbone(torch.cat(part)) for part in (views[:2], views[2:]) if part])
        z = nn.functional.normalize(self.projection_head(features), dim=1, p=2)
        found = self.prototypes(z, progress.step).chunk(len(views))
        return self.criterion(found[:2], found[2:])


class BYOL(Lightly):
    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        hidden, out = options["hidden_dim"], options["projection_dim"]
        self.projection_head = modules.BYOLProjectionHead(dim, hidden, out)
        self.prediction_head = modules.BYOLPredictionHead(out, hidden, out)
        self.backbone_momentum = self.momentum_copy(backbone)
        self.projection_head_momentum = self.momentum_copy(self.projection_head)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, views, progress):
        momentum = self.momentum(progress)
        update_momentum(self.backbone, self.backbone_momentum, m=momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=momentum)
        p0, p1 = (self.prediction_head(self.projection_head(self.backbone(view))) for view in views)
        z0, z1 = (self.projection_head_momentum(self.backbone_momentum(view)).detach() for view in views)
        # Equation 2 of the paper, to which a rate belongs where SGD trains; lightly's example has a quarter of it.
        return 4 * 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class SimSiam(Lightly):
    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        out = options["projection_dim"]
        self.projection_head = modules.SimSiamProjectionHead(dim, dim, out)
        self.prediction_head = modules.SimSiamPredictionHead(out, options["bottleneck_dim"], out)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, views, progress):
        z0, z1 = (self.projection_head(self.backbone(view)) for view in views)
        p0, p1 = self.prediction_head(z0), self.prediction_head(z1)
        return 0.5 * (self.criterion(z0.detach(), p1) + self.criterion(z1.detach(), p0))


class BarlowTwins(TwoProjections):
    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        width = options["projection_dim"]
        self.projection_head = modules.BarlowTwinsProjectionHead(dim, width, width)
        self.criterion = BarlowTwinsLoss(lambda_param=options["lambd"])


class VICReg(TwoProjections):
    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        width = options["projection_dim"]
        self.projection_head = VICRegProjectionHead(dim, width, width)
        self.criterion = VICRegLoss(options["invariance"], options["variance"], options["covariance"])


class DINO(Lightly):
    """``backbone`` is the student's. The teacher's head begins with other weights than the student's, as in the example."""

    def __init__(self, backbone, dim, options, setup):
        super().__init__(backbone, dim, options, setup)
        sizes = dim, options["hidden_dim"], options["bottleneck_dim"], options["prototypes"]
        norm = options["head_norm"]
        self.student_head = modules.DINOProjectionHead(*sizes, norm, freeze_last_layer=options["freeze_epochs"])
        self.teacher_backbone = self.momentum_copy(backbone)
        self.teacher_head = modules.DINOProjectionHead(*sizes, norm)
        deactivate_requires_grad(self.teacher_head)
        self.criterion = DINOLoss(
            options["prototypes"],
            options["first_teacher_temperature"],
            options["teacher_temperature"],
            round(options["teacher_warmup_epochs"]),
            options["student_temperature"],
            options["center_momentum"],
        )

    def follow(self, progress):
        momentum = self.momentum(progress)
        update_momentum(self.backbone, self.teacher_backbone, m=momentum)
        update_momentum(self.student_head, self.teacher_head, m=momentum)

    def loss(self, views, progress):
        self.follow(progress)
        teacher_out = [self.teacher_head(self.teacher_backbone(view)).detach() for view in views[:2]]
        student_out = [self.student_head(self.backbone(view)) for view in views]
        return self.criterion(teacher_out, student_out, epoch=int(progress.epoch))

    def loss_together(self, views, progress):
        self.follow(progress)
        teacher_out = self.teacher_head(self.teacher_backbone(torch.cat(views[:2]))).chunk(2)
        features = torch.cat([self.backbone(torch.cat(part)) for part in (views[:2], views[2:]) if part])
        student_out = self.student_head(features).chunk(len(views))
        return self.criterion(teacher_out, student_out, epoch=int(progress.epoch))

    def after_backward(self, progress):
        clip_each([p.grad for p in self.parameters() if p.grad is not None], self.options["clip"])
        self.student_head.cancel_last_layer_gradients(current_epoch=progress.epoch)

    def kept(self):
        return self.teacher_backbone


# MoCo v3, MoCo v1 and PIRL are not here: of the first lightly has the heads and no loss (NTXentLoss also contrasts a view with
# others of its own kind), of the second no head, of the third nothing.
MODELS: dict[str, Callable[[nn.Module, int, Mapping[str, Any], Setup], Lightly]] = {
    "simclr": SimCLR,
    "moco-v2": MoCo,
    "swav": SwaV,
    "byol": BYOL,
    "simsiam": SimSiam,
    "barlow-twins": BarlowTwins,
    "vicreg": VICReg,
    "dino": DINO,
}
