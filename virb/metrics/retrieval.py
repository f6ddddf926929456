"""How high relevant things stand in a ranking; retrieval_map is its metric."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from virb.contracts.metric import State
from virb.errors import DataError, TrainingError, UsageError
from virb.metrics.arrays import as_array

AT = (1, 5, 10)
SETTINGS = {
    "": (1, math.inf),
    "_easy": (1, 1),
    "_hard": (2, math.inf),
}  # which grades are looked for; others do not count


class RetrievalMetric(State):
    """Mean over queries of the average precision, as revisited Oxford and Paris define it (Radenovic et al. 2018, Section 3).

    ``prediction`` is the similarity of each query to each thing, (B, M), NaN for one that is not there; ``target`` int (B, M):
    0 for what is not relevant, 1, 2, ... for what is, the larger the harder to find, -1 for what does not count. What does
    not count is taken out of the ranking before anything is counted. ``retrieval_map`` looks for all that is relevant (their
    Medium), ``retrieval_map_easy`` for grade 1 alone and ``retrieval_map_hard`` for grades from 2 on, while the others do not
    count. A query with nothing to be found is left out. ``p@1``, ``p@5``, ``p@10`` are the share of relevant things among
    the first k, or as far as the last relevant one where that comes earlier, with ``_easy`` and ``_hard`` likewise.

    The average precision is the area under the curve of precision over recall by trapezoids. Of equal similarities the
    thing that comes first stands higher.
    """

    name = "retrieval_map"

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []

    def update(self, prediction: Any, target: Any) -> None:
        similarity, relevance = as_array(prediction).astype(np.float64), as_array(target)
        if (
            similarity.ndim != 2
            or relevance.ndim != 2
            or len(similarity) != len(relevance)
            or similarity.shape[1] > relevance.shape[1]
            or not np.issubdtype(relevance.dtype, np.integer)
        ):
            raise UsageError(
                f"Similarities of shape {similarity.shape} for {relevance.dtype} of shape {relevance.shape}; expected "
                "(N, M) for integers (N, M)."
            )
        if np.isinf(similarity).any():
            raise TrainingError("A similarity is infinite; the encoder's embeddings overflow.")
        for scores, grades in zip(similarity, relevance[:, : similarity.shape[1]], strict=True):
            is_there = ~np.isnan(scores)
            order = np.argsort(-scores[is_there], kind="stable")
            self._rows.append(_of_query(grades[is_there][order]))

    def compute(self) -> dict[str, float]:
        self.check_not_empty()
        found = {}
        for key in self._rows[0]:
            values = [row[key] for row in self._rows if not math.isnan(row[key])]
            found[key] = math.fsum(values) / len(values) if values else math.nan
        if math.isnan(found[self.name]):
            raise DataError("No query has anything to be found; average precision is not defined.")
        return {key: value for key, value in found.items() if not math.isnan(value)}

    def per_example(self) -> dict[str, np.ndarray]:
        self.check_not_empty()
        return {key: np.array([row[key] for row in self._rows]) for key in self._rows[0]}

    def __len__(self) -> int:
        return len(self._rows)

    def extend(self, other: RetrievalMetric) -> None:
        self._rows += other._rows


def _of_query(ranked: np.ndarray) -> dict[str, float]:
    """Return the numbers of one query from the grades of what was ranked, best first; NaN where nothing is to be found."""
    found = {}
    for setting, (low, high) in SETTINGS.items():
        is_wanted = (ranked >= low) & (ranked <= high)
        places = np.flatnonzero(is_wanted[is_wanted | (ranked == 0)])  # from 0, without what does not count
        found[f"retrieval_map{setting}"] = average_precision(places)
        for k in AT:
            found[f"p@{k}{setting}"] = _precision_at(places, k)
    return found


def average_precision(places: np.ndarray) -> float:
    """Return the area by trapezoids, for the places from 0 (n,) at which all that is to be found stands, ascending.

    >>> average_precision(np.array([0, 2]))
    0.7916666666666666
    """
    if not len(places):
        return math.nan
    j = np.arange(len(places))
    before = np.where(places == 0, 1.0, j / np.maximum(1, places))
    after = (j + 1) / (places + 1)
    return math.fsum((before + after) / 2) / len(places)


def _precision_at(places: np.ndarray, k: int) -> float:
    if not len(places):
        return math.nan
    upto = min(k, int(places[-1]) + 1)
    return int((places < upto).sum()) / upto
