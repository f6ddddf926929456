"""The parts that a task names, found and checked against each other before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from virb.contracts.examples import Examples
from virb.contracts.head import Head
from virb.contracts.loss import Loss
from virb.contracts.metric import OF_TARGET, Metric, State, TargetFacts
from virb.contracts.parts import PIXELWISE, resolve
from virb.contracts.probe import Problem
from virb.contracts.task import FROM_DATA, Task
from virb.errors import UsageError
from virb.heads import build_head, find_head
from virb.losses import find_loss
from virb.metrics import find_metric

if TYPE_CHECKING:
    from torch import nn

    from virb.networks.encoder import FrozenEncoder

OF_TARGETS = ("out_channels", "ignore_index")  # options of the targets themselves


@dataclass(frozen=True)
class Parts:
    """What a task is made of. ``target`` is the kind of its targets (:data:`virb.contracts.parts.TARGETS`)."""

    task: Task
    head: Head
    loss: Loss
    metric: Metric
    target: str
    head_options: Mapping[str, Any]
    metric_options: Mapping[str, Any]

    @property
    def ignore_index(self) -> int | None:
        """The class in a mask that counts for nothing; crops are padded with it."""
        return self.task.options.get("ignore_index", None if self.task.protocol.crop is None else 255)

    @property
    def is_pixelwise(self) -> bool:
        return self.target in PIXELWISE

    @property
    def unit(self) -> str:
        """The unit of the score: the metric's own, or that of the task's targets ("" where it says none)."""
        return self.task.unit if self.metric.unit == OF_TARGET else self.metric.unit

    def problem(self, train: Examples) -> Problem:
        """Return what a probe is fitted to."""
        sign = 1 if self.metric.better == "higher" else -1

        def score(outputs: np.ndarray, targets: np.ndarray) -> float:
            state = self.new_state()
            state.update(outputs, targets)
            return sign * float(state.score)

        return Problem(
            target=self.target,
            frames=train.frames,
            targets=train.targets if self.is_pixelwise else np.asarray(train.targets),
            n_out=self.task.n_out,
            augmentations=self.task.label_preserving,
            head=self.head,
            loss=self.loss,
            build_head=self.build_head,
            score=score,
            ignore_index=self.ignore_index,
            quantity=self.task.quantity,
            cap=self.metric_options.get("cap"),
            groups=train.groups,
            validation=train.validation,
        )

    def build_head(self, encoder: FrozenEncoder, seed: int, initial_output: float = 0.0) -> nn.Module:
        """Return the task's head for ``encoder``, with fresh weights."""
        is_on_tokens = self.head.reads == "tokens"
        if self.head.is_pixelwise:
            of_encoder: dict[str, Any] = {
                "channels": encoder.channels,
                "strides": encoder.strides_at(self.head.output_stride),
                "offsets": encoder.offsets_at(self.head.output_stride),
            }
        else:
            of_encoder = {"dim": encoder.channels[-1] if is_on_tokens else encoder.dim}
        head = build_head(
            self.head,
            n_out=self.task.n_out,
            n_frames=self.task.n_frames,
            seed=seed,
            initial_output=initial_output,
            **of_encoder,
            **self.head_options,
        )
        if not is_on_tokens:
            return head
        from torch import nn

        return nn.Sequential(nn.Unflatten(-1, (-1, of_encoder["dim"])), head)  # features are kept as one row an image

    def new_state(self) -> State:
        """Return a fresh state of the task's metric."""
        return self.metric.state(TargetFacts(self.task.n_classes, self.ignore_index), **self.metric_options)


def parts_of(task: Task) -> Parts:
    """Return the parts that ``task`` names.

    Raises:
        UsageError: one is unknown or broken, or they do not fit together or with what the task says of its targets.
    """
    where = f"Task {task.name!r}"
    head, loss, metric = find_head(task.head), find_loss(task.loss), find_metric(task.metric)
    if head.trains and not loss.name:
        raise UsageError(f"{where} names no loss, and its head {head.name} trains. Say which with loss=.")
    target = _target(task, loss, metric, where)
    if head.is_pixelwise != task.category.is_pixelwise:
        raise UsageError(f"{where} is a {task.category.value} task, and its head {head.name} reads {head.reads}.")
    if not head.fits(task.n_frames):
        raise UsageError(f"{where} has {task.n_frames} frames an example, which its head {head.name} does not take.")
    fewest = {"class": 2, "mask": 2, "labels": 1}.get(target, 0)
    is_open = task.classes is FROM_DATA  # counted when the data are read
    if (task.n_classes < fewest and not is_open) or (fewest == 0 and (task.n_classes or is_open)):
        wanted = (
            f"needs classes=(names), FROM_DATA or a number of at least {fewest}"
            if fewest
            else "has numbers, and no classes"
        )
        raise UsageError(f"{where}: {loss.name or metric.name} {wanted}.")
    of_head, of_metric = ({option.name for option in part.options} for part in (head, metric))
    for name in task.options:
        if name not in of_head | of_metric | set(OF_TARGETS):
            known = ", ".join(sorted({*of_head, *of_metric, *OF_TARGETS}))
            raise UsageError(
                f"{where} has the option {name!r}, which is none of its head's or metric's; known: {known}."
            )
    given = dict(task.options)
    return Parts(
        task,
        head,
        loss,
        metric,
        target,
        resolve(head.options, {k: v for k, v in given.items() if k in of_head}, f"{where}, head {head.name}"),
        resolve(metric.options, {k: v for k, v in given.items() if k in of_metric}, f"{where}, metric {metric.name}"),
    )


def _target(task: Task, loss: Loss, metric: Metric, where: str) -> str:
    """Return what kind of target the task has: what its loss and its metric both take, of pixels or of examples."""
    both = loss.takes & metric.takes & {task.target or word for word in loss.takes}
    fitting = sorted(word for word in both if (word in PIXELWISE) == task.category.is_pixelwise)
    if not fitting:
        said = f"; the task says {task.target}" if task.target else ""
        raise UsageError(
            f"{where} is a {task.category.value} task; its loss {loss.name or '(none)'} takes "
            f"{', '.join(sorted(loss.takes))}, its "
            f"metric {metric.name} {', '.join(sorted(metric.takes))}{said}. There is no target that fits them all."
        )
    if len(fitting) > 1:
        raise UsageError(f"{where}: its targets may be {' or '.join(fitting)}; say which with target=.")
    return fitting[0]
