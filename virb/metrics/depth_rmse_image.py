"""The root mean squared error of each image, and the mean over images (Eigen et al. 2014)."""

from __future__ import annotations

from virb.contracts.metric import OF_TARGET, Metric
from virb.contracts.parts import Option
from virb.metrics.depth import DepthMetric, checked_cap

METRIC = Metric(
    name="depth_rmse_image",
    summary="the root mean squared error of each image, and the mean over images",
    takes=frozenset({"map"}),
    unit=OF_TARGET,
    better="lower",
    state=lambda facts, cap: DepthMetric(name="depth_rmse_image", cap=checked_cap(cap)),
    options=(Option("cap", None, "targets above do not count, and predictions are clipped to it", type=float, low=0),),
)
