"""The root mean squared error over all pixels with a target (Eigen et al. 2014)."""

from __future__ import annotations

from virb.contracts.metric import OF_TARGET, Metric
from virb.contracts.parts import Option
from virb.metrics.depth import DepthMetric, checked_cap

METRIC = Metric(
    name="depth_rmse",
    summary="the root mean squared error over all pixels with a target",
    takes=frozenset({"map"}),
    unit=OF_TARGET,
    better="lower",
    state=lambda facts, cap: DepthMetric(name="depth_rmse", cap=checked_cap(cap)),
    options=(Option("cap", None, "targets above do not count, and predictions are clipped to it", type=float, low=0),),
)
