"""The median angle between predicted and true directions, in degrees."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.angle import AngleMetric

METRIC = Metric(
    name="median_angle",
    summary="the median angle between predicted and true directions, over all pixels with a target",
    takes=frozenset({"map"}),
    unit="degree",
    better="lower",
    state=lambda facts: AngleMetric(name="median_angle"),
)
