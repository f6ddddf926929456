"""Similarity of representations."""

from __future__ import annotations

import numpy as np

from nulls.row import Row, Study
from virb.stats.cka import BlockGrams, cka_matrix

_MIX = np.random.default_rng(0).normal(size=(6, 6))


def cka_of_blocks(n_blocks: int) -> Study:
    # Linear CKA of x with x W + 1.2 e in the population, from its covariances.
    cross, own = float((_MIX**2).sum()), _MIX.T @ _MIX + 1.44 * np.eye(6)
    truth = cross / np.sqrt(6 * float((own**2).sum()))

    def study(rng: np.random.Generator) -> float:
        grams = BlockGrams(["x", "y"])
        for _ in range(n_blocks):
            x = rng.normal(size=(32, 6))
            grams.add([x, x @ _MIX + 1.2 * rng.normal(size=(32, 6))])
        result = cka_matrix(grams)
        return float(not result.low[0, 1] <= truth <= result.high[0, 1])

    return study


ROWS = [
    Row("cka: interval of 5 blocks misses", cka_of_blocks(5), 150),
    Row("cka: interval of 10 blocks misses", cka_of_blocks(10), 100),
]
