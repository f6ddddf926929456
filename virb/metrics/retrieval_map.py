"""Mean average precision of retrieval, as revisited Oxford and Paris define it."""

from __future__ import annotations

from virb.contracts.metric import Metric
from virb.metrics.retrieval import RetrievalMetric

METRIC = Metric(
    name="retrieval_map",
    summary="the mean over queries of the average precision, things that do not count taken out of the ranking",
    takes=frozenset({"relevance"}),
    unit="fraction",
    state=lambda facts: RetrievalMetric(),
)
