"""Ranks of many rows are SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from virb.stats.row_ranks import row_ranks


@pytest.mark.parametrize("shape", [(50, 1), (50, 2), (40, 30), (3, 700), (4, 5, 8)])
@pytest.mark.parametrize("digits", [0, 1, 9])
def test_ranks_are_scipys(shape: tuple[int, ...], digits: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).round(digits)
    assert row_ranks(x).tolist() == scipy_stats.rankdata(x, axis=-1).tolist()


def test_zeros_of_either_sign_tie_and_infinity_is_last() -> None:
    assert row_ranks(np.array([[np.inf, 0.0, -0.0, -1.0]])).tolist() == [[4, 2.5, 2.5, 1]]
