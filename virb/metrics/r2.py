"""The share of the variance of numbers that is predicted (R2)."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.regression import NumberMetric

METRIC = Metric(
    name="r2",
    summary="the share of the variance of numbers that is predicted (R2)",
    takes=frozenset({"number"}),
    unit="fraction",
    better="higher",
    state=lambda facts: NumberMetric(name="r2"),
)
