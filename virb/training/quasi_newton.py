"""L-BFGS in the metric of a preconditioner: the least of a smooth convex function of a matrix, to a small gradient.

Nocedal and Wright 2006, Algorithm 7.4 (two loops over the last steps), with steps that satisfy the Wolfe conditions
(Algorithm 3.5, cubic interpolation; near the end, where the function's rounding hides its decrease, the approximate ones of
Hager and Zhang 2005, Section 2). It works on U = F^T W for a factor F of the preconditioner, so that a function whose
curvature is near F F^T looks round to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

DECREASE, CURVATURE = 1e-4, 0.9  # of the Wolfe conditions
ROUNDING = 1e-14  # of the function's value
MAX_TRIED = 25  # steps along a line


@dataclass(frozen=True)
class Metric:
    """A change of variables: ``to_round(W)`` = F^T W, ``from_round`` its inverse, ``gradient(g)`` = F^-1 g."""

    to_round: Callable[[Tensor], Tensor]
    from_round: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Minimum:
    """Where it ended; ``largest`` is the largest element of the gradient there."""

    weights: Tensor
    value: float
    largest: float
    n_iterations: int


@dataclass
class _Point:
    """Somewhere on a line: the step, the value, the slope along the line, and what they were computed from."""

    step: float
    value: float
    slope: float
    weights: Tensor
    gradient: Tensor  # in the round variables
    largest: float


def minimise(
    function: Callable[[Tensor], tuple[float, Tensor]],
    start: Tensor,
    metric: Metric,
    *,
    tolerance: float,
    max_iterations: int,
    history: int,
) -> Minimum:
    """Return the least of ``function`` (of float64 weights to its value and gradient), from ``start``.

    It ends where no element of the gradient exceeds ``tolerance``, after ``max_iterations``, or where no step along the
    direction is any lower.
    """
    value, gradient = function(start)
    here = _Point(0.0, value, 0.0, start, metric.gradient(gradient), float(gradient.abs().max()))
    place = metric.to_round(start)
    pairs: list[tuple[Tensor, Tensor, float]] = []  # the last steps, the gradients' changes, 1 over their product
    scale, n = 1.0, 0
    while n < max_iterations and here.largest > tolerance:
        direction = _direction(here.gradient, pairs, scale)
        slope = _dot(here.gradient, direction)
        if not slope < 0:  # rounding has spoilt what was remembered
            pairs, direction = [], -here.gradient
            slope = _dot(here.gradient, direction)

        def at(step: float, place: Tensor = place, direction: Tensor = direction) -> _Point:
            weights = metric.from_round(place + step * direction)
            value, gradient = function(weights)
            there = metric.gradient(gradient)
            return _Point(step, value, _dot(there, direction), weights, there, float(gradient.abs().max()))

        found = _along(at, here.value, slope, tolerance)
        if found is None:
            if not pairs:
                break
            pairs = []  # once more, down the gradient
            continue
        step, change = found.step * direction, found.gradient - here.gradient
        product = _dot(step, change)
        if product > 0:
            pairs = [*pairs[-(history - 1) :], (step, change, 1 / product)]
            scale = product / _dot(change, change)
        place, here = place + step, found
        n += 1
    return Minimum(here.weights, here.value, here.largest, n)


def _dot(a: Tensor, b: Tensor) -> float:
    return float(a.flatten() @ b.flatten())


def _direction(gradient: Tensor, pairs: list[tuple[Tensor, Tensor, float]], scale: float) -> Tensor:
    """Return minus the inverse curvature, as the pairs show it, times the gradient."""
    q = gradient.clone()
    shares = []
    for step, change, over in reversed(pairs):
        shares.append(over * _dot(step, q))
        q.sub_(change, alpha=shares[-1])
    q.mul_(scale)
    for (step, change, over), share in zip(pairs, reversed(shares), strict=True):
        q.add_(step, alpha=share - over * _dot(change, q))
    return q.neg_()


def _along(at: Callable[[float], _Point], value: float, slope: float, tolerance: float) -> _Point | None:
    """Return a point on the line that is low and flat enough, or whose gradient is small; None if there is none."""
    low, low_value, low_slope = 0.0, value, slope
    high: _Point | None = None
    step = 1.0
    for _ in range(MAX_TRIED):
        there = at(step)
        is_flat = there.slope >= CURVATURE * slope
        is_near = there.value <= value + ROUNDING * abs(value)  # as low, as far as can be told
        is_low = there.value <= value + DECREASE * step * slope or (
            is_near and there.slope <= (2 * DECREASE - 1) * slope
        )
        if is_low and (is_flat or there.largest <= tolerance):
            return there
        if is_low or (is_near and there.slope < 0):
            low, low_value, low_slope = step, there.value, there.slope
        else:
            high = there
        if high is None:
            step *= 2
            continue
        width = high.step - low
        step = min(max(_cubic(low, low_value, low_slope, high), low + 0.1 * width), high.step - 0.1 * width)
    return None


def _cubic(low: float, value: float, slope: float, high: _Point) -> float:
    """Return the least of the cubic with these values and slopes (Nocedal and Wright 2006, equation 3.59)."""
    middle = (low + high.step) / 2
    if not (math.isfinite(high.value) and math.isfinite(high.slope)):
        return middle
    first = slope + high.slope - 3 * (value - high.value) / (low - high.step)
    square = first * first - slope * high.slope
    if square < 0:
        return middle
    second = math.sqrt(square)
    below = high.slope - slope + 2 * second
    return high.step - (high.step - low) * (high.slope + second - first) / below if below else middle
