"""What a row of the null gate is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05

Study = Callable[[np.random.Generator], float]


@dataclass(frozen=True)
class Row:
    """``study(rng)`` gives the share of tests of one simulated study that reach .05 (or of intervals that miss).

    ``is_power``: something is there, and at least three times the level must be found. ``bound``: what is said where that is not
    .05, such as "about 95%" or what luck would give. ``least``: what is said to be found at least, such as four times in five.
    ``is_quick``: tests run it too.
    """

    name: str
    study: Study
    studies: int
    is_power: bool = False
    bound: float = LEVEL
    least: float = 0.0
    is_quick: bool = True


def analysed(name: str, frame: object, **options: object) -> tuple[dict[str, object], str]:
    """Tables of an analysis and what it says of ``frame``, as `virb analyze` prints it."""
    from virb import registry

    analysis = registry.load("analyses", name)
    tables = analysis.tables(frame, **options)
    return tables, "\n".join(analysis.say(tables))
