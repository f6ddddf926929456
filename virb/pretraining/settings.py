"""What makes an encoder: the settings of a run, as a command line or a recipe gives them."""

from __future__ import annotations

import dataclasses
import math
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

    Views are cropped from the images at their own size and aspect. ``resolution`` is the short side in pixels to which larger
    ones are reduced when they are decoded; None: four times the view, which no crop of 8 % of the area notices.

    ``subset`` is a rule of ``virb.pretraining.subsets`` or a manifest's file; ``subset_seed`` draws it, so that runs of several
    seeds can share one. ``corrupt`` is a kind of ``virb.pretraining.corruptions``. ``compile`` changes the speed, and the weights
    by rounding: it does not make another encoder. Nor does ``recompute``, which saves memory.

    ``ema`` keeps a moving average of the weights, of that decay. ``eval`` names end tasks, and "own" for the nearest neighbours
    among the run's own labelled images, that it is scored on every ``eval_epochs`` epochs (1), by the probe ``eval_probe``;
    ``snapshots`` are epochs, as 10,50, after which the encoder as it is then is also written, to ``OUT-epoch10.pt``.
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
    resolution: int | None = None
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
    final_weight_decay: float | None = None
    momentum: float | None = None
    warmup_epochs: float | None = None
    warmup_lr: float | None = None
    final_lr: float | None = None
    schedule: str | None = None
    milestones: str | None = None
    ema: float | None = None
    eval: str | None = None
    eval_epochs: float | None = None
    eval_probe: str = "knn"
    snapshots: str | None = None
    checkpoint_steps: int = 0
    compile: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        for field_ in dataclasses.fields(self):
            _check_type(field_.name, field_.type, getattr(self, field_.name))
        if self.epochs is not None and self.budget is not None:
            raise UsageError("--epochs and --budget both say how long to train; give one of them.")
        for name in (
            "epochs", "budget", "batch_size", "size", "view_size", "resolution", "limit", "lr", "eval_epochs",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0; found {value}.")
        for name in (
            "weight_decay", "final_weight_decay", "warmup_epochs", "warmup_lr", "final_lr", "checkpoint_steps",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 0; found {value}.")
        for name in ("momentum", "ema"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"--{name} must be at least 0 and below 1; found {value}.")
        if self.snapshots is not None:
            _ascending("--snapshots", self.snapshots, math.inf, "epochs, ascending, as 10,50")

    @property
    def looks(self) -> tuple[str, ...]:
        """What ``eval`` names; its own images where only ``eval_epochs`` is given."""
        if self.eval is None:
            return () if self.eval_epochs is None else ("own",)
        return tuple(dict.fromkeys(name.strip() for name in self.eval.split(",") if name.strip()))

    @property
    def snapshot_epochs(self) -> tuple[float, ...]:
        return () if self.snapshots is None else _ascending("--snapshots", self.snapshots, math.inf, "")

    @property
    def resolution_px(self) -> int:
        """The short side in pixels to which larger images are reduced."""
        return self.resolution or round(REDUCED * (self.view_size or self.size or 224))


REDUCED = 4.1  # a crop of .08 of the area at an aspect of 3:4 is 1 / 4.08 as wide as a square image

_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "Path": (Path,), "Mapping[str, Any]": (Mapping,),
    "None": (type(None),),
}  # fmt: skip
_SAID = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "None": "nothing"}
MOST = 2**53  # a whole number beyond it is not exactly itself everywhere


def _check_type(name: str, annotation: Any, value: Any) -> None:
    """Refuse a value that is not what the field is declared to hold; numbers are finite, texts hold no NUL."""
    shown = name if "options" in name else f"--{name.replace('_', '-')}"
    names = str(annotation).split(" | ")
    kinds = tuple(kind for one in names for kind in _KINDS[one])
    is_right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if isinstance(value, (int, float)) and is_right:
        is_right = math.isfinite(value) and abs(value) <= MOST
    if isinstance(value, str) and "\0" in value:
        is_right = False
    if not is_right:
        expected = " or ".join(_SAID.get(one, one) for one in names)
        raise UsageError(f"{shown} is {_brief(value)}; expected {expected}.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str) or not isinstance(item, (str, int, float, bool)):
                raise UsageError(
                    f"{shown} has {_brief(key)}: {_brief(item)}; expected names with a number, a text, or true or false."
                )
            if not isinstance(item, str) and not (math.isfinite(item) and abs(item) <= MOST):
                raise UsageError(f"{shown} has {key}: {_brief(item)}; expected a finite number.")


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def training_of(published: Training, settings: Settings, batch_size: int, epochs: float) -> tuple[Training, float]:
    """Return the training of a run of ``epochs``, and its peak learning rate: what is published, and what the settings say.

    The published start and floor of the learning rate keep their shares of the peak. A published warm-up is part of a
    published length: in a run shorter than that it is shorter in proportion. A warm-up that the settings ask for is as
    long as they say.

    Raises:
        UsageError: the settings do not fit together, or the warm-up is longer than the run.
    """
    training = published.replace(
        optimizer=settings.optimizer,
        weight_decay=settings.weight_decay,
        schedule=settings.schedule,
        momentum=settings.momentum,
        milestones=_milestones(settings.milestones),
    )
    if settings.lr is None and settings.optimizer not in (None, published.optimizer):
        raise UsageError(
            f"--optimizer {settings.optimizer} needs a --lr of its own: the published one is for {published.optimizer}."
        )
    if settings.weight_decay is not None and settings.weight_decay != published.weight_decay:
        training = dataclasses.replace(training, final_weight_decay=None)  # the published rise belongs to its start
    training = training.replace(final_weight_decay=settings.final_weight_decay)
    if training.milestones and settings.milestones is not None and training.schedule != "step":
        raise UsageError(f"--milestones belong to --schedule step; this run's is {training.schedule}.")
    if training.schedule == "step" and not training.milestones:
        training = training.replace(milestones=(0.6, 0.8))  # MoCo v1's 120 and 160 of 200 epochs
    lr = settings.lr if settings.lr is not None else published.scaled_lr(batch_size)
    share = lr / published.lr
    warmup = settings.warmup_epochs
    if warmup is None:
        warmup = published.warmup_epochs * min(1.0, epochs / published.epochs)
    if warmup > epochs:
        raise UsageError(f"--warmup-epochs {warmup:g} is longer than the run of {epochs:g} epochs.")
    training = training.replace(
        warmup_epochs=warmup,
        warmup_lr=training.warmup_lr * share if settings.warmup_lr is None else settings.warmup_lr,
        final_lr=training.final_lr * share if settings.final_lr is None else settings.final_lr,
    )
    return training, lr


def _milestones(text: str | None) -> tuple[float, ...] | None:
    """Read "0.6,0.8": fractions of the run, ascending."""
    expected = "fractions of the run between 0 and 1, ascending, as 0.6,0.8"
    return None if text is None else _ascending("--milestones", text, 1.0, expected)


def _ascending(flag: str, text: str, below: float, expected: str) -> tuple[float, ...]:
    """Read numbers apart by commas, each above 0, below ``below`` and above the one before."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < x < below for x in found) or list(found) != sorted(set(found)):
        raise UsageError(f"{flag} {text!r}: expected {expected}.")
    return found
