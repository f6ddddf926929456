"""The mean absolute error over the target, of all pixels with a target (Eigen et al. 2014)."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.contracts.parts import Option
from virb.metrics.depth import DepthMetric, checked_cap

METRIC = Metric(
    name="abs_rel",
    summary="the mean absolute error over the target, of all pixels with a target",
    takes=frozenset({"map"}),
    unit="fraction",
    better="lower",
    state=lambda facts, cap: DepthMetric(name="abs_rel", cap=checked_cap(cap)),
    options=(Option("cap", None, "targets above do not count, and predictions are clipped to it", type=float, low=0),),
)
