"""Schedules, optimisers, heads, options and what is watched."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from virb.contracts.method import Method, Option, Training
from virb.errors import UsageError
from virb.networks import projections
from virb.pretraining import watch
from virb.training import optimizers, schedules


def test_cosine_with_warmup():
    rate = [schedules.learning_rate(s, 100, peak=2.0, warmup=10, start=0.2, end=0.02) for s in range(100)]
    assert rate[9] == pytest.approx(2.0)
    assert rate[0] == pytest.approx(0.2 + 1.8 / 10)
    assert all(a < b for a, b in pairwise(rate[:10]))
    assert all(a >= b for a, b in pairwise(rate[10:]))
    assert rate[55] == pytest.approx((2.0 + 0.02) / 2)
    assert rate[-1] == pytest.approx(0.02, abs=2e-3)


def test_step_and_constant():
    rate = [
        schedules.learning_rate(s, 200, peak=0.03, schedule="step", milestones=(0.6, 0.8))
        for s in (0, 119, 120, 160, 199)
    ]
    assert rate == pytest.approx([0.03, 0.03, 0.003, 0.0003, 0.0003])
    assert schedules.learning_rate(7, 10, peak=1.0, schedule="constant") == 1.0
    with pytest.raises(ValueError, match="Unknown schedule"):
        schedules.learning_rate(7, 10, peak=1.0, schedule="linear")


@pytest.mark.parametrize("larc", [False, True])
def test_lars_by_hand(larc):
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    bias = nn.Parameter(torch.tensor([1.0, 2.0]))
    groups = [
        {"params": [weight], "weight_decay": 0.1, "adapt": True},
        {"params": [bias], "weight_decay": 0.0, "adapt": False},
    ]
    optimizer = optimizers.LARS(groups, 0.5, momentum=0.9, larc=larc)
    w, b, mw, mb = weight.detach().clone(), bias.detach().clone(), 0.0, 0.0
    for _ in range(3):
        weight.grad, bias.grad = torch.tensor([[1.0, -2.0]]), torch.tensor([0.5, 0.25])
        optimizer.step()
        g = torch.tensor([[1.0, -2.0]])
        d = g + 0.1 * w
        norm = g.norm() + 0.1 * w.norm() if larc else d.norm()
        mw = 0.9 * mw + 0.001 * w.norm() / norm * d
        scale = 0.001 * b.norm() / torch.tensor([0.5, 0.25]).norm() if larc else 1.0
        mb = 0.9 * mb + scale * torch.tensor([0.5, 0.25])
        w, b = w - 0.5 * mw, b - 0.5 * mb
    torch.testing.assert_close(weight.detach(), w)
    torch.testing.assert_close(bias.detach(), b)


def test_lars_steps_do_not_depend_on_the_gradients_scale():
    ends = []
    for scale in (1.0, 1000.0):
        p = nn.Parameter(torch.ones(3, 3))
        optimizer = optimizers.LARS([p], 0.1)
        p.grad = scale * torch.arange(9.0).view(3, 3)
        optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(*ends)


def test_biases_and_norms_are_not_decayed():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    decayed, plain = optimizers.parameter_groups(module, 0.1)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert decayed["weight_decay"] == 0.1
    assert len(plain["params"]) == 4
    assert plain["weight_decay"] == 0.0
    with pytest.raises(UsageError, match="Unknown optimizer"):
        optimizers.build_optimizer("adam", [decayed], lr=0.1)


def test_projections():
    x = torch.randn(6, 16)
    assert projections.projection("identity", 16, 8)(x) is x
    assert projections.projection("linear", 16, 8)(x).shape == (6, 8)
    head = projections.projection("nonlinear", 16, 8, hidden=32)
    assert head(x).shape == (6, 8)
    assert sum(isinstance(m, nn.Linear) for m in head.modules()) == 2
    plain = projections.mlp([16, 32, 8], last_norm="plain")(x)
    torch.testing.assert_close(plain.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    prototypes = projections.WeightNormPrototypes(16, 5)
    assert prototypes(x).abs().max() <= 1 + 1e-6


def test_scaled_learning_rates():
    training = Training("lars", 4.8, 4096, 100)
    assert training.scaled_lr(256) == pytest.approx(0.3)
    assert training.replace(lr_rule="sqrt").scaled_lr(1024) == pytest.approx(2.4)
    assert training.replace(lr_rule="fixed").scaled_lr(1) == 4.8


def test_options_are_strict():
    method = Method(
        "m",
        "",
        options=(
            Option("tau", 0.1, ""),
            Option("n", 3, ""),
            Option("on", True, ""),
            Option("kind", "a", "", choices=("a", "b")),
        ),
    )
    assert method.resolve(["tau=0.5", "on=no"]) == {"tau": 0.5, "n": 3, "on": False, "kind": "a"}
    assert method.resolve({"n": 4, "kind": "b"})["n"] == 4
    for text, message in [
        ("tua=1", "Did you mean tau"),
        ("n=1.5", "not of type int"),
        ("tau=nan", "not of type float"),
        ("on=maybe", "not of type bool"),
        ("kind=c", "expected one of a, b"),
        ("tau", "NAME=VALUE"),
    ]:
        with pytest.raises(UsageError, match=message):
            method.resolve([text])
    with pytest.raises(UsageError, match="twice"):
        method.resolve(["n=1", "n=2"])
    with pytest.raises(UsageError, match="not of type int"):
        method.resolve({"n": 1.5})


def test_spread():
    assert float(watch.output_spread(torch.ones(10, 8))) == pytest.approx(0, abs=1e-6)
    assert float(watch.output_spread(torch.randn(4000, 64))) == pytest.approx(1, abs=0.02)


def test_knn_accuracy_against_a_loop():
    features = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    unit, right = F.normalize(features, dim=1), 0
    for i in range(30):
        similarity = [(float(unit[i] @ unit[j]), int(labels[j])) for j in range(30) if j != i]
        votes = [0.0, 0.0, 0.0]
        for s, label in sorted(similarity, reverse=True)[:7]:
            votes[label] += math.exp(s / 0.07)
        right += votes.index(max(votes)) == int(labels[i])
    assert watch.knn_accuracy(features, labels, k=7) == pytest.approx(right / 30)
