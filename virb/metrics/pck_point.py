"""The share of points that are found within a tenth of a length, over the points of all pairs."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.contracts.parts import Option
from virb.metrics.correspondence import CorrespondenceMetric

METRIC = Metric(
    name="pck_point",
    summary="the share of points found within alpha of a length, over the points of all pairs",
    takes=frozenset({"map"}),
    unit="fraction",
    state=lambda facts, alpha: CorrespondenceMetric(name="pck_point", alpha=alpha),
    options=(Option("alpha", 0.1, "the share of the length that a point may be off", low=1e-6),),
)
