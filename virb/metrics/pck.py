"""The share of points that are found within a tenth of a length, of each pair and then the mean over pairs."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.contracts.parts import Option
from virb.metrics.correspondence import CorrespondenceMetric

METRIC = Metric(
    name="pck",
    summary="the share of points found within alpha of a length (the object's box, or the image), the mean over pairs",
    takes=frozenset({"map"}),
    unit="fraction",
    state=lambda facts, alpha: CorrespondenceMetric(name="pck", alpha=alpha),
    options=(Option("alpha", 0.1, "the share of the length that a point may be off", low=1e-6),),
)
