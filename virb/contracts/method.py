"""What a pretraining method declares: light, so that listing methods and reading their options needs no torch."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from virb.contracts.parts import Option as Option
from virb.contracts.parts import resolve
from virb.contracts.roles import ROLES
from virb.errors import RegistryError, UsageError


@dataclass(frozen=True)
class Training:
    """How a method is trained: its published settings, each of which a command line or recipe may replace.

    ``lr`` belongs to ``batch_size`` under ``lr_rule``: "linear" scales it with the batch, "sqrt" with its square root,
    "fixed" not at all. ``milestones`` are fractions of the run (schedule "step"). ``momentum`` is AdamW's beta 1, ``beta2``
    its other one. With ``final_weight_decay`` the decay goes there on a cosine.
    """

    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    lr_rule: str = "linear"
    weight_decay: float = 1e-4
    final_weight_decay: float | None = None
    momentum: float = 0.9
    warmup_epochs: float = 0.0
    warmup_lr: float = 0.0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    final_lr: float = 0.0
    beta2: float = 0.999

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain values; ``beta2`` where it is not AdamW's own, so that a run is called as ever."""
        values = dataclasses.asdict(self)
        if self.beta2 == 0.999:
            del values["beta2"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def scaled_lr(self, batch_size: int) -> float:
        """Return the peak learning rate for ``batch_size`` images an update."""
        ratio = batch_size / self.batch_size
        return self.lr * {"linear": ratio, "sqrt": math.sqrt(ratio), "fixed": 1.0}[self.lr_rule]

    def replace(self, **changes: Any) -> Training:
        """Return a copy with ``changes``; a None leaves its field."""
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})


@dataclass(frozen=True)
class Variant:
    """What a method's authors publish for another kind of network: its training, and the defaults of some options."""

    archs: str  # a regular expression that the architecture's whole name matches
    training: Training
    options: Mapping[str, bool | int | float | str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What a method may need to know of the run it will be trained in. Sizes in pixels, counts in images."""

    image_size: int
    n_images: int
    n_classes: int
    batch_size: int
    steps: int
    steps_per_epoch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int = 0


@dataclass(frozen=True)
class Method:
    """A pretraining method. ``learner(encoder, options, setup)`` builds the Learner that is trained; None means nothing is.

    ``needs_labels``: it trains on classes. ``source`` is the paper, ``training`` its settings and where they are published.
    ``variants`` are published for other kinds of networks, by name; ``at`` returns the method as it is for one.
    ``role`` is what its encoders are in every comparison: one of ``ROLES``.
    """

    name: str
    source: str
    training: Training | None = None
    learner: Callable[[Any, Mapping[str, Any], Setup], Any] | None = None
    options: tuple[Option, ...] = ()
    needs_labels: bool = False
    role: str = "unknown"
    variants: Mapping[str, Variant] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise RegistryError(f"Method {self.name!r}: role={self.role!r} is none of {', '.join(ROLES)}.")
        if (self.learner is None) != (self.training is None):
            raise RegistryError(f"Method {self.name!r}: a learner and its training settings come together.")
        if len({option.name for option in self.options}) != len(self.options):
            raise RegistryError(f"Method {self.name!r} declares an option twice.")
        for variant in self.variants.values():
            unknown = set(variant.options) - {option.name for option in self.options}
            if unknown:
                raise RegistryError(
                    f"Method {self.name!r}: a variant sets {sorted(unknown)[0]!r}, which is no option of it."
                )

    def at(self, arch: str) -> Method:
        """Return the method with what is published for networks like ``arch``."""
        for variant in self.variants.values():
            if re.fullmatch(variant.archs, arch):
                options = tuple(
                    dataclasses.replace(option, default=variant.options.get(option.name, option.default))
                    for option in self.options
                )
                return dataclasses.replace(self, training=variant.training, options=options, variants={})
        return self

    def called(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return of resolved ``options`` what a run is known by: all but later ones that have their defaults."""
        usual = {option.name: option.default for option in self.options if option.is_later}
        return {name: value for name, value in options.items() if name not in usual or value != usual[name]}

    def resolve(self, given: Mapping[str, Any] | Iterable[str]) -> dict[str, bool | int | float | str]:
        """Return the value of every option: the default, or what ``given`` ("name=value" texts, or a mapping) says.

        Raises:
            UsageError: an option is unknown, malformed, out of bounds or given twice.
        """
        pairs = list(given.items()) if isinstance(given, Mapping) else [split_option(text) for text in given]
        values = dict(pairs)
        twice = next((name for k, (name, _) in enumerate(pairs) if name in dict(pairs[:k])), None)
        if twice is not None:
            raise UsageError(f"{self.name}: the option {twice!r} is given twice.")
        return resolve(self.options, values, self.name)


def split_option(text: str) -> tuple[str, str]:
    """Split "name=value".

    Raises:
        UsageError: there is no "=", or nothing before it.
    """
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise UsageError(f"Expected NAME=VALUE; found {text!r}.")
    return name, value
