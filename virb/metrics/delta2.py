"""The share of pixels whose prediction is within a factor of 1.25^2 of the target (Eigen et al. 2014)."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.contracts.parts import Option
from virb.metrics.depth import DepthMetric, checked_cap

METRIC = Metric(
    name="delta2",
    summary="the share of pixels whose prediction is within a factor of 1.25^2 of the target",
    takes=frozenset({"map"}),
    unit="fraction",
    better="higher",
    state=lambda facts, cap: DepthMetric(name="delta2", cap=checked_cap(cap)),
    options=(Option("cap", None, "targets above do not count, and predictions are clipped to it", type=float, low=0),),
)
