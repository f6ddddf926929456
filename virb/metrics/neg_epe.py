"""Minus the mean end-point error of a flow, in pixels."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.flow import FlowMetric
from virb.metrics.resampling import errors

METRIC = Metric(
    name="neg_epe",
    summary="minus the mean end-point error of a flow, in pixels",
    takes=frozenset({"map"}),
    unit="pixel",
    state=lambda facts: FlowMetric(name="neg_epe"),
    resampling=errors("sum_end_point_error"),
)
