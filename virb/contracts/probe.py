"""What a probe is: a way to score an encoder on a task. Which targets it takes, which options, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from virb.contracts import holdout
from virb.contracts.parts import checked_targets
from virb.contracts.task import Protocol, Task
from virb.errors import RegistryError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from virb.contracts.examples import Examples
    from virb.contracts.head import Head
    from virb.contracts.loss import Loss
    from virb.images.sets import ImageSet
    from virb.networks.encoder import FrozenEncoder

#: Departures from a protocol that a probe may take, beside ``limit`` and ``skip_corrupt``, which all take.
TRAINING_OPTIONS = ("epochs", "steps", "batch_size", "optimizer", "lr", "weight_decay")
#: Settings of single probes, which reach them by :attr:`Setup.options` and ``Probe.settings``.
OWN_OPTIONS = ("weight_decay_on", "k", "temperature", "memory_patches", "penalties")
#: How frozen encoders run their forward pass.
FORWARD_OPTIONS = ("dtype", "compile")
OPTIONS = (*TRAINING_OPTIONS, *OWN_OPTIONS, *FORWARD_OPTIONS)

Report = Callable[[int, int], None]  # of progress, as report(done, total); it may raise to end the job


@dataclass(frozen=True)
class Problem:
    """The train split of a task, and what a probe may ask about it.

    ``target`` is the kind of ``targets``: int (N,) for a class, int (N, K) for labels (1, 0, or -1: does not count) and
    float32 (N, M) for numbers, which are standardised (NaN: no target). Of pixelwise tasks ``targets`` are a sequence of
    arrays, as :class:`virb.contracts.examples.Examples` has them, and ``ignore_index`` is a class that counts for nothing.
    """

    target: str
    frames: np.ndarray  # int (N, F): the images of each example
    targets: Any
    n_out: int  # classes, labels or numbers
    augmentations: tuple[str, ...]  # those that keep the target
    head: Head
    loss: Loss
    build_head: Callable[..., nn.Module]  # (encoder, seed, initial_output=0.0): the task's own head, with fresh weights
    score: Callable[[np.ndarray, np.ndarray], float]  # of outputs (N, n_out) and targets; higher is better
    ignore_index: int | None = None
    quantity: str = ""  # of a map: one of :data:`virb.contracts.parts.QUANTITIES`, or unknown
    cap: float | None = None  # of a depth: targets above do not count, where the task says so
    groups: Sequence[str] | None = None  # (N,): which examples belong together, for a probe that holds some out
    validation: Examples | None = None  # the data set's own part to choose settings on, over the same images

    def hold_out(self, share: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return what to choose settings on: the rows to fit (n,), and the frames (V, F) and targets (V, ...) to validate on.

        They are the data set's own validation part, else ``share`` of the examples, by whole groups.

        Raises:
            UsageError: nothing would be left to fit.
        """
        fitted, held = holdout.cut(self.frames, self.groups, self.validation, share, seed=seed)
        if self.validation is not None:
            import numpy as np

            return fitted, self.validation.frames, np.asarray(self.validation.targets)
        return fitted, self.frames[held], self.targets[held]


@dataclass(frozen=True)
class Source:
    """An encoder and a set of images: as cached embeddings (M, D), or themselves where the encoder is to train.

    ``pixels`` gives a decoder its batches (:class:`virb.probes.dense_sources.Source`), for pixelwise tasks.
    """

    encoder: FrozenEncoder
    images: ImageSet
    embedding: np.ndarray | None = None
    pixels: Any = None

    @property
    def features(self) -> np.ndarray:
        assert self.embedding is not None
        return self.embedding


@dataclass(frozen=True)
class Setup:
    """What one head or fit of a problem has of its own."""

    source: Source  # the train split's images
    seed: int
    protocol: Protocol
    options: Mapping[str, Any] = field(default_factory=dict)  # of OWN_OPTIONS those that were given


@dataclass(frozen=True)
class Predictor:
    """A fitted probe.

    ``protocol`` is what its record says of how it was made. ``outputs(source, frames, report)`` returns what the metric
    takes, float32 (M, n_out), for the examples ``frames`` (M, F) of a test split: scores of classes or labels, or numbers.
    For pixelwise tasks ``frames`` are the rows of ``source.pixels``, and it returns the outputs and the targets.
    ``losses`` are the mean training losses by epoch (from 1), where it trains by epochs: records keep them.
    """

    protocol: dict[str, Any]
    outputs: Callable[[Source, Any, Report], Any]
    losses: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """A probe: ``fit(problem, setups, device, report)`` returns a predictor for each setup.

    The setups are one, or, of a probe whose fits train ``together`` (of pixelwise tasks: ``maps_together``), all that share
    a problem; their embeddings or maps are of one shape, and their protocols differ in optimiser and learning rate alone.

    ``takes`` are the kinds of target (:data:`virb.contracts.parts.TARGETS`), and ``refuses(task, target)`` says why a task
    that has such a target cannot be fitted all the same ("" where it can): it is asked before any encoder is read.
    ``options`` are those of :data:`OPTIONS` that it takes, and ``why_not`` says why no other. ``trains_head``: it fits the task's own head, or the one called ``head``
    in its place. ``is_random``: its result depends on the seed. ``layer`` is what it reads of an encoder, a layer of the
    feature cache (default: what the head reads if it trains one, else the embedding). ``is_frozen``: it reads cached
    features, and does not train a copy of the encoder on the images. ``holds_out``: it chooses something on a part of the
    train split (:meth:`Problem.hold_out`); one with a setting that is "auto" does so then, and ``chooses`` are those that may
    be. ``grids`` are settings that ``virb tune`` tries, by name, each a mapping of
    options to values; the first is what it tries if none is named.
    ``protocol`` is its own where it does not follow the task's. ``settings(protocol, augmentations)`` returns every setting
    that decides its result, with its value, as far as it is known before the data are; by default the protocol's.
    ``protocol`` is a mapping there, and has those of :data:`OWN_OPTIONS` that were given too.
    """

    name: str
    summary: str
    takes: frozenset[str]
    fit: Callable[[Problem, Sequence[Setup], torch.device, Report], list[Predictor]]
    settings: Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]] = lambda protocol, augmentations: dict(
        protocol
    )
    refuses: Callable[[Task, str], str] = lambda task, target: ""
    options: frozenset[str] = field(default_factory=frozenset)
    why_not: str = "it has no such setting"
    head: str | None = None
    together: bool = False
    maps_together: bool = False
    layer: str | None = None
    trains_head: bool = False
    is_random: bool = True
    is_frozen: bool = True
    holds_out: bool = False
    chooses: frozenset[str] = frozenset()
    protocol: Protocol | None = None
    grids: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes", checked_targets(self.takes, f"Probe {self.name!r}"))
        unknown = sorted(frozenset(self.options) - set(OPTIONS))
        if unknown:
            raise RegistryError(f"Probe {self.name!r}: unknown option {unknown[0]!r}; expected some of {OPTIONS}.")
        for name, grid in self.grids.items():
            if not all(set(setting) <= self.options for setting in grid):
                raise RegistryError(f"Probe {self.name!r}: its grid {name!r} has options that it does not take.")


def training(protocol: Protocol) -> dict[str, Any]:
    """Return what records say of a head that was trained by gradient descent."""
    later = {"weight_decay": protocol.weight_decay, "schedule": protocol.schedule}
    return {
        **({"epochs": protocol.epochs} if protocol.steps is None else {"steps": protocol.steps}),
        "batch_size": protocol.batch_size,
        "optimizer": protocol.optimizer,
        "lr": protocol.lr,
        **{name: value for name, value in later.items() if name in protocol.of_training},
    }
