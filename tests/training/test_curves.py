"""Training curves: which epochs have a point, and what a point is the mean of."""

from __future__ import annotations

import pytest
import torch

from virb.training.curves import MOST_POINTS, Curve, as_recorded, points


@pytest.mark.parametrize("n_epochs", [1, 2, 19, 20, 21, 100, 5000])
def test_the_first_and_the_last_epoch_have_a_point_and_no_curve_has_many(n_epochs):
    found = points(n_epochs)
    assert {1, n_epochs} <= found <= set(range(1, n_epochs + 1))
    assert min(n_epochs, MOST_POINTS // 2) <= len(found) <= MOST_POINTS


def test_a_point_is_the_mean_over_its_epochs_batches_that_have_a_target():
    losses: dict[int, float] = {}
    curve = Curve(losses, n_batches=3, n_steps=8)  # the last of three epochs has two batches
    for step, loss in enumerate([1.0, 2.0, 6.0, None, None, None, 4.0, None]):
        curve.add(step, None if loss is None else torch.tensor(loss, requires_grad=True))
    assert losses == {1: 3.0, 3: 4.0}


def test_a_loss_that_is_not_finite_is_no_point_and_six_digits_are_recorded():
    losses: dict[int, float] = {}
    curve = Curve(losses, n_batches=1, n_steps=3)
    for step, loss in enumerate([1 / 3, float("nan"), float("inf")]):
        curve.add(step, torch.tensor(loss))
    assert as_recorded({10: 2.0, 2: 1.0}.items()) == {"2": 1.0, "10": 2.0}
    assert as_recorded(losses.items()) == {"1": 0.333333}
