"""Schedules by iteration: pure functions of the step, so that a resumed run has nothing to restore."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``steps``."""
    done = min(max(step / max(steps, 1), 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def learning_rate(
    step: int,
    steps: int,
    *,
    peak: float,
    warmup: int = 0,
    schedule: str = "cosine",
    start: float = 0.0,
    end: float = 0.0,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """Return the learning rate of update ``step`` (0-based) out of ``steps``.

    It rises linearly from ``start`` to ``peak`` over the first ``warmup`` updates, then follows ``schedule``: "cosine"
    falls to ``end``, "step" is multiplied by ``gamma`` at each of ``milestones`` (fractions of the run),
    "constant" stays.
    """
    if step < warmup:
        return start + (peak - start) * (step + 1) / warmup
    if schedule == "cosine":
        return cosine(step - warmup, steps - warmup, peak, end)
    if schedule == "step":
        return peak * gamma ** sum(step >= m * steps for m in milestones)
    if schedule == "constant":
        return peak
    raise ValueError(f"Unknown schedule {schedule!r}; expected cosine, step or constant.")
