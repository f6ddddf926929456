"""The share of examples whose class is predicted."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.classification import ClassificationMetric
from virb.metrics.resampling import SHARE_RIGHT

METRIC = Metric(
    name="top1",
    summary="the share of examples whose class is predicted",
    takes=frozenset({"class"}),
    unit="fraction",
    state=lambda facts: ClassificationMetric(facts.n_classes, name="top1"),
    resampling=SHARE_RIGHT,
)
