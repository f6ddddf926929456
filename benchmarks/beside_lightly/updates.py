"""The first updates of a training by virb and by lightly from equal heads and queues: how far apart are the backbones?"""

from __future__ import annotations

import copy

import torch
from torch import nn

from virb.networks.encoder import FrozenEncoder
from virb.pretraining import memory
from virb.pretraining.learner import Batch, Learner

from .models import Lightly
from .training import planned, weights

# Keys are not shuffled among parts of a batch that are normalised apart: of that lightly has nothing on one process.
CHANGES = {"moco-v2": {"bn_groups": 1}}


def compare_updates(name: str, start: FrozenEncoder, *, updates: int = 5) -> tuple[float, float]:
    """Return how far the backbones are from each other after one update and after ``updates``.

    The distance is a share of how far the weights have moved. Both sides are as in their trainings (optimiser, rates,
    momenta) but for float64, in which rounding hides nothing, equal heads, and views of one size in one pass.
    """
    run = planned(name, start, seed=0, changes=CHANGES.get(name))
    torch.manual_seed(0)
    learner, model = run.learner.double(), run.model(start).double()
    equalise(name, learner, model)
    ours, theirs = (
        run.optimizer(groups) for groups in (learner.groups(run.plan.training.weight_decay), run.groups(model))
    )
    begun, found = weights(model.backbone), []
    for step, (index, views) in enumerate(run.views()):
        if step == updates:
            break
        progress, views = run.progress(step), [view.double() for view in views]
        for optimizer in (ours, theirs):
            run.set_rates(optimizer, step)
            optimizer.zero_grad()
        learner.before_step(progress)
        learner(views, Batch(index, None), progress).loss.backward()
        learner.after_backward(progress)
        ours.step()
        learner.after_step(progress)
        model.loss_together(views, progress).sum().backward()
        model.after_backward(progress)
        theirs.step()
        one, other = weights(learner.encoder), weights(model.backbone)
        found.append(float((one - other).norm() / (other - begun).norm()))
    return found[0], found[-1]


def equalise(name: str, learner: Learner, model: Lightly) -> None:
    """Give virb's learner the heads of lightly's model, and both the same queue."""
    match name:
        case "moco-v2":
            learner.head = copy.deepcopy(model.projection_head)
            learner.key = memory.MomentumCopy(nn.Sequential(learner.encoder, learner.head))
            model.criterion.memory_bank.bank = learner.queue.items.clone()
        case "swav":
            learner.projector = copy.deepcopy(model.projection_head)
            layer = model.prototypes.heads[0]
            layer.bias = None  # virb's prototypes have none, as published
            learner.prototypes.weight.data.copy_(layer.weight)
        case "byol":
            learner.projector = copy.deepcopy(model.projection_head)
            learner.predictor = copy.deepcopy(model.prediction_head)
            learner.target = memory.MomentumCopy(nn.Sequential(learner.encoder, learner.projector))
        case "simsiam":
            learner.projector = copy.deepcopy(model.projection_head)
            learner.predictor = copy.deepcopy(model.prediction_head)
        case "vicreg":
            learner.expander = copy.deepcopy(model.projection_head)
        case "dino":
            learner.last.weight.data.copy_(model.student_head.last_layer.weight_v)
            learner.head = nn.Sequential(*copy.deepcopy(model.student_head.layers), learner.last)
            learner.teacher = memory.MomentumCopy(nn.Sequential(learner.encoder, learner.head))
            model.teacher_head.load_state_dict(model.student_head.state_dict())
        case _:
            learner.projector = copy.deepcopy(model.projection_head)
