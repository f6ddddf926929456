"""lightly's side of a run: its model, trained as benchmarks/above_untrained.py trains virb's method of the same name.

From virb come the run's first weights of the backbone, its images in their order, its views (equal to the last bit), its optimiser with
what it spares from weight decay, its schedule. The loop is that of lightly's examples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from above_untrained import settings_of
from ssl_training import ARCH, ARCH_OPTIONS, SIZE, training_images
from torch import Tensor, nn
from torch.optim import Optimizer

from virb import registry
from virb.contracts.method import Setup
from virb.networks.encoder import FrozenEncoder
from virb.networks.preprocess import Preprocess
from virb.pretraining.data import PretrainingData
from virb.pretraining.learner import Learner, Progress
from virb.pretraining.plan import Plan, stream_seed
from virb.pretraining.reader import batches
from virb.pretraining.settings import training_of
from virb.training import augment, schedules
from virb.training.optimizers import build_optimizer

from .models import MODELS, Lightly


@dataclass(frozen=True)
class Run:
    """A run of virb's as both sides need it: ``learner`` is virb's method before its first update, ``images`` its data set."""

    name: str
    learner: Learner
    images: PretrainingData
    plan: Plan

    def progress(self, step: int) -> Progress:
        return Progress(step, self.plan.steps, self.learner.setup.steps_per_epoch)

    def views(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Yield what virb's trainer shows in each update: positions of the images, and their views."""
        for step, (index, images) in enumerate(batches(self.images, self.plan, 0)):
            generator = torch.Generator().manual_seed(stream_seed(self.plan.seed, "views", step))
            views = self.learner.views(torch.from_numpy(images), generator)
            yield torch.from_numpy(index), [view.contiguous(memory_format=torch.channels_last) for view in views]

    def set_rates(self, optimizer: Optimizer, step: int) -> None:
        """Give the optimiser the learning rate and weight decay of an update."""
        training, steps = self.plan.training, self.plan.steps
        lr = schedules.learning_rate(
            step,
            steps,
            peak=self.plan.lr,
            warmup=round(training.warmup_epochs * self.learner.setup.steps_per_epoch),
            schedule=training.schedule,
            start=training.warmup_lr,
            end=training.final_lr,
            milestones=training.milestones,
        )
        for group in optimizer.param_groups:
            group["lr"] = (self.plan.lr if group["constant_lr"] else lr) * group.get("lr_scale", 1.0)
            if training.final_weight_decay is not None and group["weight_decay"]:
                group["weight_decay"] = schedules.cosine(
                    step, steps, training.weight_decay, training.final_weight_decay
                )

    def optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        training = self.plan.training
        return build_optimizer(
            training.optimizer, groups, lr=self.plan.lr, momentum=training.momentum, beta2=training.beta2
        )

    def groups(self, model: Lightly) -> list[dict[str, Any]]:
        """Return lightly's parameters in groups as virb's are: predictors apart, and what has fewer than two dimensions."""

        def kind(name: str, parameter: Tensor) -> tuple[bool, bool]:
            return name.startswith(("predictor.", "prediction_head.")), parameter.ndim < 2

        kinds = {id(p): kind(name, p) for name, p in self.learner.named_parameters()}
        how: dict[tuple[bool, bool], dict[str, Any]] = {}
        for group in self.learner.groups(self.plan.training.weight_decay):
            rest = {key: value for key, value in group.items() if key != "params"}
            for p in group["params"]:
                assert how.setdefault(kinds[id(p)], rest) == rest, "virb's groups differ by something else too"
        found: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, p in model.named_parameters():
            if p.requires_grad:
                found.setdefault(kind(name, p), []).append(p)
        return [{**how[which], "params": parameters} for which, parameters in found.items()]

    def model(self, start: FrozenEncoder) -> Lightly:
        """Return lightly's model on a backbone with virb's first weights, those that the method itself sets among them."""
        backbone = start.trainable_copy()
        backbone.load_state_dict(self.learner.encoder.state_dict())
        return MODELS[self.name](backbone, start.dim, self.learner.options, self.learner.setup).train()


def planned(
    name: str, start: FrozenEncoder, *, seed: int, images: int | None = None, changes: Mapping[str, Any] | None = None
) -> Run:
    """Return the run of ``name`` in above_untrained.py on a copy of ``start``, of another length or with other options if given."""
    settings = settings_of(name, Path(f"{name}.pt"), seed=seed, images=images)
    method = registry.load("methods", name).at(ARCH)
    data = training_images(settings.subset)
    batch_size = settings.batch_size
    steps, per_epoch = settings.budget // batch_size, len(data) // batch_size
    training, lr = training_of(method.training, settings, batch_size, steps / per_epoch)
    setup = Setup(
        image_size=settings.view_size,
        n_images=len(data),
        n_classes=len(data.classes),
        batch_size=batch_size,
        steps=steps,
        steps_per_epoch=per_epoch,
        mean=augment.IMAGENET_MEAN,
        std=augment.IMAGENET_STD,
        seed=seed,
    )
    options = method.resolve({**settings.options, **(changes or {})})
    learner = method.learner(start.trainable_copy(), options, setup).train()
    return Run(name, learner, data, Plan(training, lr, steps, batch_size, seed))


def train_lightly(name: str, start: FrozenEncoder, *, seed: int, images: int | None) -> FrozenEncoder:
    """Train lightly's model from the weights of ``start``, on the views that virb's run of this seed sees."""
    run = planned(name, start, seed=seed, images=images)
    torch.manual_seed(stream_seed(seed, "lightly"))
    model = run.model(start)
    optimizer = run.optimizer(run.groups(model))
    for step, (_, views) in enumerate(run.views()):
        run.set_rates(optimizer, step)
        progress = run.progress(step)
        model.loss(views, progress).sum().backward()
        model.after_backward(progress)
        optimizer.step()
        optimizer.zero_grad()
    return FrozenEncoder(
        model.kept(),
        name=f"lightly-{name}-{seed}",
        arch=ARCH,
        arch_options=ARCH_OPTIONS,
        preprocess=Preprocess(size=SIZE),
    )


def weights(network: nn.Module) -> Tensor:
    """Return a copy of all weights in one row."""
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])
