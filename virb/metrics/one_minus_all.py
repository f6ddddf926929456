"""One minus the share of pixels whose flow is an outlier (KITTI 2015)."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.flow import FlowMetric
from virb.metrics.resampling import errors

METRIC = Metric(
    name="one_minus_all",
    summary="one minus the share of pixels whose flow is an outlier (KITTI 2015)",
    takes=frozenset({"map"}),
    unit="fraction",
    state=lambda facts: FlowMetric(name="one_minus_all"),
    resampling=errors("n_outliers", best=1.0),
)
