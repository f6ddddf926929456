"""How many of a task's training examples have labels for a probe to learn from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """A share of the train split, or examples a class; neither: all of it. :mod:`virb.evaluation.labelled` draws them."""

    label_fraction: float | None = None
    labels_per_class: int | None = None

    def __post_init__(self) -> None:
        if self.label_fraction == 1:  # all of it under another name
            object.__setattr__(self, "label_fraction", None)

    @property
    def is_whole(self) -> bool:
        return self.label_fraction is None and self.labels_per_class is None

    def overrides(self) -> dict[str, int | float]:
        """What it is, by the name of the option.

        >>> Budget(label_fraction=0.1).overrides()
        {'label_fraction': 0.1}
        """
        both = {"label_fraction": self.label_fraction, "labels_per_class": self.labels_per_class}
        return {name: value for name, value in both.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.overrides().items()) or "all labels"


WHOLE = Budget()
