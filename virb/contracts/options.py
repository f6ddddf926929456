"""The options of an evaluation: said once, for the command line's flags, the Python signature and every executor."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from virb.contracts.budget import Budget
from virb.contracts.task import OPTIMIZERS
from virb.errors import UsageError, option


@dataclass(frozen=True)
class Flag:
    """How an option is written on the command line."""

    name: str  # --seeds
    field: str
    type: type
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    is_several: bool = False  # values with commas between
    words: tuple[str, ...] = ()  # that may stand in place of a number


def _option(default: Any, help: str, kind: type, **about: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "type": kind, **about})


@dataclass(frozen=True)
class RunOptions:
    """How an evaluation runs. A departure from the protocol (``overrides``) becomes part of the probe's name in records.

    Attributes:
        cache_gb: what the maps of one pixelwise task may take on disk; beyond, they are computed anew.
        cache_limit_gb: how large the whole feature cache may grow (default: :func:`virb.system.cache.limit_bytes`).
    """

    out: str = _option("results", "where the records go", str, metavar="DIR")
    seeds: int = _option(1, "train each head N times", int, metavar="N")
    probe: str = _option("gradient", "how an encoder is judged (virb list probes)", str, metavar="NAME")
    device: str = _option("auto", "auto, cpu, cuda, cuda:1, mps", str)
    executor: str = _option(
        "local",
        "local, dask (worker processes on this machine, one a GPU) or dask:tcp://HOST:PORT (a cluster)",
        str,
        metavar="WHERE",
    )
    optimizer: str | None = _option(
        None, "instead of the task's; recorded as such", str, choices=OPTIMIZERS, overrides=True
    )
    lr: float | None = _option(None, "instead of the task's learning rate; recorded as such", float, overrides=True)
    limit: int | None = _option(
        None, "use only N examples of each split; recorded as such", int, metavar="N", overrides=True
    )
    label_fraction: tuple[float, ...] | None = _option(
        None,
        "train on these shares of each class's training examples (0.01,0.1,1); recorded as such",
        float,
        metavar="F,F",
        is_several=True,
    )
    labels_per_class: tuple[int, ...] | None = _option(
        None,
        "train on N examples of each class; recorded as such",
        int,
        metavar="N,N",
        is_several=True,
    )
    epochs: int | None = _option(
        None, "train for N epochs instead of the task's; recorded as such", int, metavar="N", overrides=True
    )
    steps: int | None = _option(
        None, "make N updates instead of the task's epochs; recorded as such", int, metavar="N", overrides=True
    )
    batch_size: int | None = _option(
        None, "examples a batch instead of the task's; recorded as such", int, metavar="N", overrides=True
    )
    weight_decay: float | None = _option(
        None, "the l2 penalty that is added to the gradient (default: none); recorded as such", float, overrides=True
    )
    weight_decay_on: str | None = _option(
        None, "of fine-tuning: which weights decay (default: all)", str, choices=("all", "head"), overrides=True
    )
    k: int | str | None = _option(
        None,
        "of knn: how many neighbours vote; auto: chosen on train, each example left out in turn (default: 20; of knn-dense: 30)",
        int,
        words=("auto",),
        overrides=True,
    )
    temperature: float | None = _option(
        None, "of knn's votes (default: 0.07; of knn-dense: 0.02)", float, overrides=True
    )
    memory_patches: int | None = _option(
        None,
        "of knn-dense: how many cells of training images are kept at most (default: 102400)",
        int,
        metavar="N",
        overrides=True,
    )
    penalties: str | None = _option(
        None,
        "of lbfgs: which of its 45 penalties to score on validation (default: search, which scores 13 at most)",
        str,
        choices=("search", "all"),
        overrides=True,
    )
    dtype: str | None = _option(
        None,
        "of the encoders' forward pass instead of fp32: faster where the processor has it (tf32: on GPUs, heads too); "
        "recorded as such",
        str,
        choices=("tf32", "bf16", "fp16"),
        overrides=True,
    )
    compile: bool = _option(
        False,
        "compile the encoders' forward pass (torch.compile), which pays on GPUs; recorded as such",
        bool,
        overrides=True,
    )
    skip_corrupt: bool = _option(
        False,
        "leave out examples that cannot be read, naming them, instead of stopping the task; recorded as such",
        bool,
        overrides=True,
    )
    cache_gb: float = _option(
        20.0,
        "keep the maps of pixelwise tasks on disk up to this size for a task, recompute them beyond",
        float,
        metavar="GB",
    )
    cache_limit_gb: float | None = _option(
        None,
        "let the whole feature cache grow to this size, then remove what was not used for the longest time (default: "
        "$VIRB_CACHE_GB, else half of what the disk could give, at most 100)",
        float,
        metavar="GB",
        flag="--cache-limit",
    )

    def __post_init__(self) -> None:
        for what in ("out",):
            object.__setattr__(self, what, os.fspath(getattr(self, what)))
        for flag in flags():
            if flag.is_several:
                self._take_several(flag)
            else:
                self._check_type(flag)
        for what in ("seeds", "limit", "epochs", "steps", "batch_size", "k", "memory_patches"):
            value = getattr(self, what)
            if isinstance(value, int) and value < 1:
                raise UsageError(f"{option(what)} must be at least 1; found {value}.")
        for what in ("lr", "temperature"):
            value = getattr(self, what)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{option(what)} must be a number above 0; found {value:g}.")
        for what in ("cache_gb", "cache_limit_gb", "weight_decay"):
            value = getattr(self, what)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{option(what)} must be a number of at least 0; found {value:g}.")
        if self.epochs is not None and self.steps is not None:
            raise UsageError(f"{option('epochs')} and {option('steps')} both say how long to train; leave one out.")

    def _check_type(self, flag: Flag) -> None:
        value = getattr(self, flag.field)
        default = _default(flag.field)
        if (value is None and default is None) or (isinstance(value, str) and value in flag.words):
            return
        allowed: tuple[type, ...] = (int, float) if flag.type is float else (flag.type,)
        if not isinstance(value, allowed) or (isinstance(value, bool) and flag.type is not bool):
            kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(flag.type, "text")
            kind = " or ".join([kind, *flag.words])
            raise UsageError(f"{option(flag.field)} must be {kind}; found {value!r}.")
        if flag.choices and value not in flag.choices:
            raise UsageError(
                f"Unknown {flag.field} {value!r} ({option(flag.field)}); expected one of {', '.join(flag.choices)}."
            )

    def _take_several(self, flag: Flag) -> None:
        """Take one value or several, smallest first and each once."""
        given = getattr(self, flag.field)
        if given is None:
            return
        values = [given] if isinstance(given, (int, float, str)) else list(given)
        allowed = (int, float) if flag.type is float else (int,)
        top, kind = (1.0, "above 0 and at most 1") if flag.type is float else (math.inf, "of at least 1, whole")
        for value in values:
            if not isinstance(value, allowed) or isinstance(value, bool) or not 0 < value <= top:
                raise UsageError(f"{option(flag.field)} must be a number {kind}, or several; found {value!r}.")
        if not values:
            raise UsageError(f"{option(flag.field)} must be a number {kind}, or several; found none.")
        object.__setattr__(self, flag.field, tuple(sorted({flag.type(value) for value in values})))

    def budgets(self) -> list[Budget]:
        """The label budgets that were asked for, each once; all of train where none was."""
        found = [Budget(label_fraction=value) for value in self.label_fraction or ()]
        found += [Budget(labels_per_class=value) for value in self.labels_per_class or ()]
        return found or [Budget()]

    def one_seed(self) -> RunOptions:
        return dataclasses.replace(self, seeds=1)

    def overrides(self) -> dict[str, int | float | str]:
        """The departures from the protocol, by name; label budgets are apart (:meth:`budgets`)."""
        found = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("overrides")
            and (value := getattr(self, field.name)) is not None
            and value is not False
        }
        return {key: 1 if value is True else value for key, value in found.items()}


def flags() -> Iterator[Flag]:
    """Yield the flags, in the order of :class:`RunOptions`."""
    for field in dataclasses.fields(RunOptions):
        about = field.metadata
        name = about.get("flag", f"--{field.name.replace('_', '-')}")
        yield Flag(
            name,
            field.name,
            about["type"],
            about["help"],
            about.get("metavar"),
            about.get("choices"),
            about.get("is_several", False),
            about.get("words", ()),
        )


def _default(name: str) -> Any:
    return next(field.default for field in dataclasses.fields(RunOptions) if field.name == name)
