"""The root mean squared error of the numbers that an example has."""

from __future__ import annotations

from virb.contracts.metric import OF_TARGET, Metric
from virb.metrics.regression import NumberMetric

METRIC = Metric(
    name="rmse",
    summary="the root mean squared error of the numbers that an example has",
    takes=frozenset({"number"}),
    unit=OF_TARGET,
    better="lower",
    state=lambda facts: NumberMetric(name="rmse"),
)
