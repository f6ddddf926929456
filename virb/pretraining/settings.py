"""What makes an encoder: the settings of a run, as a command line or a recipe gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virb.contracts.method import Training
from virb.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What makes an encoder. A None stands for the method's published value, or for what the data set says.

    ``epochs`` and ``budget`` (images seen) exclude each other; ``size`` is the side in pixels at which the encoder will
    see images, ``view_size`` that of its training views (None: the same; somewhat smaller trains faster and, as random
    crops enlarge what they show, hardly worse: Touvron et al. 2019). ``lr`` is the peak at this batch size.

    ``subset`` is a rule of ``virb.pretraining.subsets`` or a manifest's file; ``subset_seed`` draws it, so that runs of several
    seeds can share one. ``corrupt`` is a kind of ``virb.pretraining.corruptions``. ``compile`` changes the speed, and the weights
    by rounding: it does not make another encoder.
    """

    method: str
    out: Path
    data: str | None = None
    data_root: str | None = None
    arch: str = "resnet18"
    arch_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: float | None = None
    budget: int | None = None
    batch_size: int | None = None
    size: int | None = None
    view_size: int | None = None
    limit: int | None = None
    subset: str | None = None
    subset_seed: int = 0
    class_order: str = "seeded"
    corrupt: str | None = None
    skip_unreadable: bool = False
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    accumulate: int = 1
    optimizer: str | None = None
    lr: float | None = None
    weight_decay: float | None = None
    warmup_epochs: float | None = None
    schedule: str | None = None
    knn_epochs: float = 0.0
    checkpoint_steps: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.epochs is not None and self.budget is not None:
            raise UsageError("--epochs and --budget both say how long to train; give one of them.")
        for name in ("epochs", "budget", "batch_size", "size", "view_size", "limit", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0; found {value}.")
        for name in ("weight_decay", "warmup_epochs", "knn_epochs", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 0; found {value}.")


def training_of(published: Training, settings: Settings, batch_size: int) -> tuple[Training, float]:
    """The published training with what the settings replace, and the peak learning rate at ``batch_size``."""
    training = published.replace(
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        warmup_epochs=settings.warmup_epochs,
        schedule=settings.schedule,
    )
    if settings.lr is None and settings.optimizer not in (None, published.optimizer):
        raise UsageError(
            f"--optimizer {settings.optimizer} needs a --lr of its own: the published one is for {published.optimizer}."
        )
    if settings.weight_decay is not None and settings.weight_decay != published.weight_decay:
        training = dataclasses.replace(training, final_weight_decay=None)  # the published rise belongs to its start
    if training.schedule == "step" and not training.milestones:
        training = training.replace(milestones=(0.6, 0.8))  # MoCo v1's 120 and 160 of 200 epochs
    lr = settings.lr if settings.lr is not None else published.scaled_lr(batch_size)
    share = lr / published.lr  # the start and the floor keep their published shares of the peak
    training = training.replace(warmup_lr=training.warmup_lr * share, final_lr=training.final_lr * share)
    return training, lr
