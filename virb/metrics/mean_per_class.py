"""The mean over classes of each class's accuracy."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.classification import ClassificationMetric
from virb.metrics.resampling import MEAN_OF_CLASSES

METRIC = Metric(
    name="mean_per_class",
    summary="the mean over classes of each class's accuracy",
    takes=frozenset({"class"}),
    unit="fraction",
    state=lambda facts: ClassificationMetric(facts.n_classes, name="mean_per_class"),
    resampling=MEAN_OF_CLASSES,
)
