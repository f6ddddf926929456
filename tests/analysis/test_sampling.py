"""Standard errors over test examples against a bootstrap of the examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from virb.errors import ScoresError
from virb.records.predictions import sampling_sd

RNG = np.random.default_rng(0)
N = 400


def labels() -> dict[str, np.ndarray]:
    target = RNG.integers(0, 4, N)
    return {"target": target, "prediction": np.where(RNG.random(N) < 0.6, target, RNG.integers(0, 4, N))}


def counts() -> dict[str, np.ndarray]:
    target = RNG.integers(50, 200, (N, 3))
    return {"target": target, "predicted": target, "intersection": (target * RNG.random((N, 3))).astype(int)}


def errors() -> dict[str, np.ndarray]:
    return {"sum_absolute_error": RNG.exponential(50, N), "n_valid": RNG.integers(50, 100, N)}


def top1(a: dict[str, np.ndarray]) -> float:
    return float(np.mean(a["prediction"] == a["target"]))


def mean_per_class(a: dict[str, np.ndarray]) -> float:
    return float(np.mean([np.mean(a["prediction"][a["target"] == k] == k) for k in range(4)]))


def miou(a: dict[str, np.ndarray]) -> float:
    overlap = a["intersection"].sum(axis=0)
    return float(np.mean(overlap / (a["predicted"].sum(axis=0) + a["target"].sum(axis=0) - overlap)))


def neg_l1(a: dict[str, np.ndarray]) -> float:
    return -float(a["sum_absolute_error"].sum() / a["n_valid"].sum())


@pytest.mark.parametrize(
    ("make", "score"), [(labels, top1), (labels, mean_per_class), (counts, miou), (errors, neg_l1)]
)
def test_sampling_sd_is_the_bootstraps(
    make: Callable[[], dict[str, np.ndarray]], score: Callable[[dict[str, np.ndarray]], float]
) -> None:
    arrays = make()
    draws = [score({k: v[rows] for k, v in arrays.items()}) for rows in RNG.integers(0, N, (800, N))]
    assert sampling_sd(arrays, score.__name__) == pytest.approx(np.std(draws), rel=0.1)


def test_sampling_sd_of_top1_by_hand_and_its_refusal() -> None:
    arrays = {"target": np.zeros(10, int), "prediction": np.array([0] * 7 + [1] * 3)}
    assert sampling_sd(arrays, "top1") == pytest.approx(np.sqrt(0.7 * 0.3 / 9))
    with pytest.raises(ScoresError, match="cannot be had"):
        sampling_sd(arrays, "map")
