"""How an encoder is judged by a task. Listed here without torch: what each probe is called, fits and takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from virb.contracts.task import Protocol
from virb.errors import UsageError

TRAINING_OPTIONS = ("epochs", "optimizer", "lr")


@dataclass(frozen=True)
class Probe:
    """A way to score an encoder on a task.

    ``options`` are the overrides that it takes, of :data:`TRAINING_OPTIONS` and "dtype"; all take the others.
    ``protocol`` is its own where it does not follow the task's.
    """

    name: str
    summary: str
    options: frozenset[str]
    why_not: str = ""  # it takes no other option
    fits_pixelwise: bool = False
    is_random: bool = True  # its result depends on the seed
    is_frozen: bool = True  # it reads cached embeddings; otherwise it trains a copy of the encoder on the images
    protocol: Protocol | None = None


GRADIENT = Probe(
    "gradient",
    "a head trained by gradient descent on the frozen encoder, as in the paper",
    options=frozenset({*TRAINING_OPTIONS, "dtype"}),
    fits_pixelwise=True,
)
KNN = Probe(
    "knn",
    "a weighted vote of the 20 nearest training examples",
    options=frozenset({"dtype"}),
    why_not="it trains nothing",
    is_random=False,
)
LBFGS = Probe(
    "lbfgs",
    "logistic regression by L-BFGS, its penalty chosen on a validation part of train",
    options=frozenset({"dtype"}),
    why_not="L-BFGS takes all examples at once and chooses its own steps",
)
FINETUNE = Probe(
    "finetune",
    "a copy of the encoder trained together with a linear head",
    options=frozenset(TRAINING_OPTIONS),
    why_not="the encoder's copy trains in fp32",
    is_frozen=False,
    protocol=Protocol(epochs=30, batch_size=64, optimizer="sgd", lr=0.01),
)
PROBES = {probe.name: probe for probe in (GRADIENT, KNN, LBFGS, FINETUNE)}


def find(name: str) -> Probe:
    """Return the probe called ``name``.

    Raises:
        UsageError: there is none.
    """
    from virb import registry

    if name not in PROBES:
        raise UsageError(f"Unknown probe {name!r}. {registry.suggest(name, PROBES)}")
    return PROBES[name]


def check_options(probe: Probe, given: Mapping[str, object]) -> None:
    """Raise UsageError if one of the overrides ``given`` is none that ``probe`` takes, or needs another beside it."""
    refused = [f"--{name}" for name in (*TRAINING_OPTIONS, "dtype") if name in given and name not in probe.options]
    if refused:
        taking = [other.name for other in PROBES.values() if {name[2:] for name in refused} <= other.options]
        raise UsageError(
            f"--probe {probe.name} has no {', '.join(refused)}: {probe.why_not}. Leave "
            f"{'it' if len(refused) == 1 else 'them'} out, or choose --probe {' or '.join(taking)}."
        )
    own = probe.protocol
    if own is not None and "lr" not in given and given.get("optimizer", own.optimizer) != own.optimizer:
        raise UsageError(
            f"--probe {probe.name} trains by {own.optimizer} at {own.lr:g}; {given['optimizer']} needs a rate of its own: "
            "add --lr, for example 1e-4."
        )
