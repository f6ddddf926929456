"""The score, its leave-one-out values and its paired test from what is kept of single examples, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from virb.errors import ScoresError
from virb.metrics.resampling import MEAN_OF_CLASSES, OVERLAP, SHARE_RIGHT, errors, mean_of

N = 9
RNG = np.random.default_rng(0)
TARGET = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])


def labels() -> dict[str, np.ndarray]:
    return {"target": TARGET, "prediction": RNG.integers(0, 3, N)}


def pixels() -> dict[str, np.ndarray]:
    target = np.tile([40, 60, 0], (N, 1))  # the third class occurs in no image
    overlap = RNG.integers(0, 40, (N, 2))
    return {"intersection": np.pad(overlap, ((0, 0), (0, 1))), "predicted": target, "target": target}


def sums() -> dict[str, np.ndarray]:
    return {"n_outliers": RNG.integers(0, 9, N), "n_valid": np.arange(10, 10 + N)}


KINDS = {
    "share": (SHARE_RIGHT, labels),
    "classes": (MEAN_OF_CLASSES, labels),
    "overlap": (OVERLAP, pixels),
    "errors": (errors("n_outliers", best=1.0), sums),
    "mean": (mean_of("x"), lambda: {"x": RNG.normal(size=N)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_without_each_is_the_score_of_the_others(kind):
    made_of, draw = KINDS[kind]
    arrays = draw()
    assert set(made_of.needs) <= set(arrays)
    again = [made_of.score({name: np.delete(values, k, axis=0) for name, values in arrays.items()}) for k in range(N)]
    np.testing.assert_allclose(made_of.without_each(arrays), again)


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_is_of_the_difference_and_has_no_side(kind):
    made_of, draw = KINDS[kind]
    a, b = draw(), draw()
    there, back = (made_of.test(*pair, samples=500, seed=0) for pair in ((a, b), (b, a)))
    assert there.statistic == pytest.approx(made_of.score(a) - made_of.score(b))
    assert back.statistic == pytest.approx(-there.statistic)
    assert back.pvalue == pytest.approx(there.pvalue)
    assert made_of.test(a, a, samples=500, seed=0).pvalue == 1


def test_a_class_of_one_example_keeps_its_share_without_it():
    alone = {"target": np.array([0, 0, 1]), "prediction": np.array([0, 1, 1])}
    np.testing.assert_allclose(MEAN_OF_CLASSES.without_each(alone), [(0 + 1) / 2, (1 + 1) / 2, (0.5 + 1) / 2])


def test_encoders_that_were_scored_on_other_things_are_refused():
    a = labels()
    with pytest.raises(ScoresError, match="different targets"):
        SHARE_RIGHT.test(a, {**a, "target": TARGET[::-1]}, samples=10, seed=0)
    b = sums()
    with pytest.raises(ScoresError, match="different pixels"):
        errors("n_outliers").test(b, {**b, "n_valid": b["n_valid"] + 1}, samples=10, seed=0)
