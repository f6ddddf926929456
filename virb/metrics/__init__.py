"""Metrics: streaming, exact and independent of order, one file a metric. They know arrays, not tasks.

Counts are integers. Sums of real numbers are kept example by example and added by ``math.fsum``, which is correctly
rounded, so a score does not depend on the order of the examples, on the batch size, or on how parts were merged. Torch
tensors are taken too. :mod:`virb.contracts.metric` says what a metric of one's own must offer.
"""

from __future__ import annotations

from typing import Any

from virb import registry
from virb.contracts.metric import Metric, State, TargetFacts
from virb.contracts.parts import resolve
from virb.errors import RegistryError, UsageError

#: The metric to begin with, by the kind of target.
USUAL = {"class": "top1", "labels": "map", "number": "r2", "mask": "miou"}


def find_metric(name: str) -> Metric:
    """Return the metric called ``name``.

    Raises:
        UsageError: there is none, or its file is broken.
    """
    try:
        found = registry.load("metrics", name)
    except RegistryError as error:
        raise UsageError(str(error)) from error
    assert isinstance(found, Metric)
    return found


def build_metric(name: str, *, n_classes: int = 0, ignore_index: int | None = None, **options: Any) -> State:
    """Return a fresh state of the metric called ``name``.

    Args:
        n_classes: of the targets; 0 where they are numbers.
        ignore_index: the class index in a mask that counts for nothing.
        options: the metric's own, such as ``points`` ("all" or "11") of "map".

    Raises:
        UsageError: for an unknown name or option, or where the classes are missing.

    >>> state = build_metric("top1", n_classes=2)
    >>> state.update([0, 1, 1], [0, 1, 0])
    >>> round(state.score, 3)
    0.667
    """
    metric = find_metric(name)
    if metric.takes <= {"class", "labels", "mask"} and n_classes < (1 if "labels" in metric.takes else 2):
        raise UsageError(f"The metric {name!r} needs n_classes >= 2; found {n_classes}.")
    values = resolve(metric.options, options, f"The metric {name!r}")
    return metric.state(TargetFacts(n_classes, ignore_index), **values)
