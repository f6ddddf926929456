"""What a run's learning rate, warm-up and decay are: published, scaled by the published rule, or as they are asked for."""

from __future__ import annotations

import pytest

from virb import registry
from virb.contracts.method import Training
from virb.errors import UsageError
from virb.pretraining.settings import Settings, training_of

PUBLISHED = Training("lars", 4.8, 4096, 300, warmup_epochs=40, warmup_lr=0.3, final_lr=0.0048, weight_decay=1e-6)


def of(epochs, **given):
    return training_of(PUBLISHED, _settings(**given), 4096, epochs)


def _settings(**given):
    from pathlib import Path

    return Settings(method="x", out=Path("x.pt"), **given)


@pytest.mark.parametrize(("epochs", "warmup"), [(300, 40), (1000, 40), (150, 20), (3, 0.4)])
def test_a_published_warm_up_keeps_its_length_or_its_share_of_a_shorter_run(epochs, warmup):
    assert of(epochs)[0].warmup_epochs == pytest.approx(warmup)


@pytest.mark.parametrize("warmup", [0.0, 1.0, 40.0, 99.0])
def test_a_warm_up_that_is_asked_for_is_never_cut(warmup):
    assert of(100, warmup_epochs=warmup)[0].warmup_epochs == warmup
    with pytest.raises(UsageError, match="longer than the run of 100 epochs"):
        of(100, warmup_epochs=101.0)


def test_start_and_floor_keep_their_share_of_the_peak_or_are_as_asked_for():
    training, lr = of(300, lr=0.48)
    assert (lr, training.warmup_lr, training.final_lr) == pytest.approx((0.48, 0.03, 0.00048))
    training, _ = of(300, lr=0.48, warmup_lr=0.1, final_lr=0.0, momentum=0.95, final_weight_decay=0.4)
    assert (training.warmup_lr, training.final_lr, training.momentum) == (0.1, 0.0, 0.95)
    assert training.final_weight_decay == 0.4


def test_milestones_are_fractions_in_order():
    assert of(300, schedule="step", milestones="0.5,0.9")[0].milestones == (0.5, 0.9)
    assert of(300, schedule="step")[0].milestones == (0.6, 0.8)
    with pytest.raises(UsageError, match="belong to --schedule step"):
        of(300, milestones="0.5")
    for text in ("", "0.9,0.5", "1.0", "x", "0.5,0.5"):
        with pytest.raises(UsageError, match="ascending"):
            of(300, schedule="step", milestones=text)


def test_published_runs_are_as_published():
    for name in registry.names("methods"):
        published = registry.load("methods", name).training
        if published is not None:
            training, lr = training_of(published, _settings(), published.batch_size, published.epochs)
            assert (training, lr) == (published, published.lr)
