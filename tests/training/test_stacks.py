"""Stacked heads have the gradients that automatic differentiation gives each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from virb.heads import build_head, find_head
from virb.losses import find_loss
from virb.training.stacks import AutogradStack, aligned, stack_heads

# The last: an embedding as long as the hidden layers and the outputs, none of them a whole cache line.
SHAPES = [("linear", 1, 33, 4, {}), ("fusion", 2, 33, 4, {"hidden": 10}), ("fusion", 3, 12, 12, {"hidden": 12})]


def build(kind: str, n_frames: int, dim: int, n_classes: int, options: dict[str, int], n: int = 3) -> list[nn.Module]:
    return [build_head(kind, n_out=n_classes, dim=dim, n_frames=n_frames, seed=k, **options) for k in range(n)]


def gradients(head: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in head.parameters()])


@pytest.mark.parametrize(("kind", "n_frames", "dim", "n_classes", "options"), SHAPES)
@pytest.mark.parametrize("count", [1, 7, 16])
def test_gradients_are_those_of_each_heads_mean_cross_entropy(kind, n_frames, dim, n_classes, options, count):
    heads = build(kind, n_frames, dim, n_classes, options)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, n_frames, 16, dim, generator=generator)
    labels = torch.randint(0, n_classes, (3, 16), generator=generator)
    stack = stack_heads(find_head(kind), heads, find_loss("cross_entropy"), dim=dim)
    stack.set_gradients(nn.functional.pad(x, (0, aligned(dim) - dim)), labels, count)
    for w in stack.parameters(0, 2) + stack.parameters(2, 3):  # a step of one against the gradient
        w -= w.grad
    moved = build(kind, n_frames, dim, n_classes, options)
    stack.copy_to(moved)
    for k, head in enumerate(heads):
        own = x[k, 0] if kind == "linear" else x[k].transpose(0, 1)
        nn.functional.cross_entropy(head(own[:count]), labels[k, :count]).backward()
        change = torch.cat([(p - q).flatten() for p, q in zip(head.parameters(), moved[k].parameters(), strict=True)])
        torch.testing.assert_close(change, gradients(head), atol=1e-6, rtol=1e-5)
        assert gradients(head).abs().max() > 0.01


@pytest.mark.parametrize(("kind", "n_frames", "dim", "n_classes", "options"), SHAPES)
def test_what_is_stacked_comes_back(kind, n_frames, dim, n_classes, options):
    heads = build(kind, n_frames, dim, n_classes, options)
    blank = build(kind, n_frames, dim, n_classes, options)
    for head in blank:
        for p in head.parameters():
            nn.init.zeros_(p)
    stack_heads(find_head(kind), heads, find_loss("cross_entropy"), dim=dim).copy_to(blank)
    for head, copy in zip(heads, blank, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(head.parameters(), copy.parameters(), strict=True))


@pytest.mark.parametrize(("kind", "n_frames", "dim", "n_classes", "options"), SHAPES)
def test_padding_stays_zero(kind, n_frames, dim, n_classes, options):
    heads = build(kind, n_frames, dim, n_classes, options)
    stack = stack_heads(find_head(kind), heads, find_loss("cross_entropy"), dim=dim)
    x = torch.zeros(3, n_frames, 16, aligned(dim))
    x[..., :dim] = 1
    stack.set_gradients(x, torch.zeros(3, 16, dtype=torch.long), 16)
    (weights,) = stack.parameters(0, 3)
    is_padding = weights == 0
    assert is_padding.any()
    assert not weights.grad[is_padding].any()
    assert weights.grad[~is_padding].any()


def test_the_heads_that_are_not_finite_are_named():
    heads = build("fusion", 2, 16, 3, {"hidden": 16})
    with torch.no_grad():
        heads[1].fusion.bias[2] = torch.nan
    stack = stack_heads(find_head("fusion"), heads, find_loss("cross_entropy"), dim=16)
    assert stack.is_finite().tolist() == [True, False, True]


@pytest.mark.parametrize(("kind", "n_frames", "dim", "n_classes", "options"), SHAPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "ordinal", "bce", "l1", "l2", "huber"])
def test_heads_by_automatic_differentiation_take_the_steps_of_those_written_out(
    kind, n_frames, dim, n_classes, options, loss
):
    x = torch.randn(3, n_frames, 16, dim, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(0, n_classes, (3, 16), generator=torch.Generator().manual_seed(1))
    if loss == "bce":
        targets = nn.functional.one_hot(targets, n_classes)
        targets[0, 3] = -1  # does not count, in one of the heads
    elif loss in ("l1", "l2", "huber"):
        targets = torch.randn(3, 16, n_classes, generator=torch.Generator().manual_seed(1))
        targets[1, 2, 0] = torch.nan
    changed = []
    for is_written in (True, False):
        heads = build(kind, n_frames, dim, n_classes, options)
        given = (heads, find_loss(loss), "cpu")
        stack = find_head(kind).stack(*given) if is_written else AutogradStack(*given, dim=dim)
        for _ in range(2):  # gradients do not add up
            stack.set_gradients(nn.functional.pad(x, (0, aligned(dim) - dim), value=0.0), targets, 11)
        for w in stack.parameters(0, 1) + stack.parameters(1, 3):
            w -= 0.1 * w.grad
        stack.copy_to(heads)
        changed.append([torch.cat([p.detach().flatten() for p in head.parameters()]) for head in heads])
        assert stack.is_finite().all()
    for k in range(3):
        torch.testing.assert_close(changed[0][k], changed[1][k], atol=1e-6, rtol=1e-5)
