"""100 times the deviation of the logarithm of prediction over target, of each image, then the mean (Eigen et al. 2014)."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.contracts.parts import Option
from virb.metrics.depth import DepthMetric, checked_cap

METRIC = Metric(
    name="silog_image",
    summary="100 times the deviation of the logarithm of prediction over target, of each image, then the mean",
    takes=frozenset({"map"}),
    unit="percent",
    better="lower",
    state=lambda facts, cap: DepthMetric(name="silog_image", cap=checked_cap(cap)),
    options=(Option("cap", None, "targets above do not count, and predictions are clipped to it", type=float, low=0),),
)
