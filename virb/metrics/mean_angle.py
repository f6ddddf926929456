"""The mean angle between predicted and true directions, in degrees."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.angle import AngleMetric

METRIC = Metric(
    name="mean_angle",
    summary="the mean angle between predicted and true directions, over all pixels with a target",
    takes=frozenset({"map"}),
    unit="degree",
    better="lower",
    state=lambda facts: AngleMetric(name="mean_angle"),
)
