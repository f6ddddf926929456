"""What a metric is: the targets it takes, which way is better, its unit, and the state that it streams through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from virb.contracts.parts import Option, checked_targets
from virb.errors import DataError, RegistryError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from virb.stats.permutation import PermutationTest

    Arrays = Mapping[str, np.ndarray]

#: The unit of a metric whose numbers are in the unit of the task's targets (metre for a depth).
OF_TARGET = "target"


@dataclass(frozen=True)
class Resampling:
    """What can be had from the statistics of single examples (:meth:`State.per_example`), which lie beside a record.

    With it, ``virb results check`` makes a score anew from its predictions, and analyses give its error over draws of the
    test examples and test two encoders on the same ones. :mod:`virb.metrics.resampling` has those of the usual metrics.

    Args:
        needs: the names of the arrays, each with one row an example.
        score: the score of these examples.
        without_each: float (N,), the score without each example in turn, for the jackknife.
        test: a paired test of two encoders on the same examples.
    """

    class Test(Protocol):
        """``test(a, b, samples=..., seed=...)``: its statistic is the score of ``a`` minus that of ``b``."""

        def __call__(self, a: Arrays, b: Arrays, *, samples: int, seed: int) -> PermutationTest: ...

    needs: tuple[str, ...]
    score: Callable[[Arrays], float]
    without_each: Callable[[Arrays], np.ndarray]
    test: Test


@dataclass(frozen=True)
class Metric:
    """A metric: ``state(facts, **options)`` returns a fresh :class:`State`, whose numbers include one of this name.

    ``resampling`` says what the statistics of single examples make; None where the score is not made of them (average
    precision). ``unit`` is "fraction", "pixel", ..., or :data:`OF_TARGET`; ``better`` says which way the number called ``name`` counts.
    """

    name: str
    summary: str
    takes: frozenset[str]
    unit: str
    state: Callable[..., State]
    better: str = "higher"
    options: tuple[Option, ...] = ()
    resampling: Resampling | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "takes", checked_targets(self.takes, f"Metric {self.name!r}"))
        if self.better not in ("higher", "lower"):
            raise RegistryError(f"Metric {self.name!r}: better is {self.better!r}; expected 'higher' or 'lower'.")


@dataclass(frozen=True)
class TargetFacts:
    """What a metric may know of the targets: how many classes (0: numbers), and the class in a mask that counts for nothing."""

    n_classes: int = 0
    ignore_index: int | None = None


class State(ABC):
    """What a metric holds of the examples so far. ``name`` is the key of :meth:`compute` that :attr:`score` is.

    A score must not depend on the order of the examples, on the size of the batches, or on how parts were merged.
    """

    name: str

    @abstractmethod
    def update(self, prediction: Any, target: Any) -> None:
        """Add a batch: a head's outputs (arrays or tensors) and the targets."""

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """Return all numbers of this metric over everything added.

        Raises:
            DataError: nothing was added, or nothing of it has a target.
        """

    @abstractmethod
    def per_example(self) -> dict[str, np.ndarray]:
        """Return sufficient statistics, arrays of one row an example in the order of :meth:`update`, from which the
        numbers can be had for any selection of examples.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples added."""

    @abstractmethod
    def extend(self, other: Any) -> None:
        """Add what ``other``, a state of the same metric and settings, holds, after what this one holds."""

    def settings(self) -> dict[str, Any]:
        """What two states must have in common to be merged."""
        return {"name": self.name}

    @property
    def score(self) -> float:
        """The number to compare encoders by."""
        return self.compute()[self.name]

    def per_class(self) -> list[float] | None:
        """One number a class (NaN where the class does not occur), or None where there are no classes."""
        return None

    def merge(self, other: State) -> None:
        """Add everything that ``other`` holds, as if its batches had been given to this state after its own."""
        if type(other) is not type(self) or self.settings() != other.settings():
            raise UsageError(f"Cannot merge {other!r} into {self!r}: they are not the same metric.")
        self.extend(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.settings().items())})"

    def check_not_empty(self) -> None:
        """Raise DataError where nothing was added."""
        if len(self) == 0:
            raise DataError(f"The metric {self.name!r} was given no examples; expected at least one.")
