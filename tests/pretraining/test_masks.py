"""Which patches are hidden: as many as asked for, in shapes as published, the same on every machine."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Uniform

from virb.errors import UsageError
from virb.pretraining import masks


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_scattered_patches_are_uniform():
    shown = masks.scattered(4000, 16, 4, generator())
    assert shown.shape == (4000, 4)
    assert bool((shown.diff(dim=1) > 0).all())  # ascending, none twice
    share = torch.bincount(shown.flatten(), minlength=16) / 4000
    assert share.sub(0.25).abs().max() < 4.5 * math.sqrt(0.25 * 0.75 / 4000)


def test_blocks_hide_what_they_should():
    hidden = masks.blocks(2000, 14, generator(), p=0.5, share=(0.1, 0.5), least=16)
    share = hidden.float().mean(dim=1)
    assert abs(float((share > 0).float().mean()) - 0.5) < 0.05
    assert float(share.max()) <= 0.5
    # Nearly as much as was drawn, uniform from .1 to .5: a rectangle that still fits is not always found.
    found = share[share > 0].sort().values
    expected = Uniform(0.1, 0.5).icdf(torch.linspace(0, 1, len(found)))
    assert float((found - expected).mean()) == pytest.approx(-0.02, abs=0.02)
    assert bool((masks.blocks(50, 14, generator(), p=0.0, share=(0.1, 0.5), least=16) == 0).all())


def published_blocks(high, grid, least, uniform):
    """BEiT's loop as iBOT's loader.py has it, for one image."""
    mask, count = torch.zeros(grid, grid, dtype=torch.bool), 0
    while count < high:
        delta = 0
        for _ in range(10):
            area = uniform(least, high - count)
            ratio = math.exp(uniform(math.log(0.3), math.log(1 / 0.3)))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if w < grid and h < grid:
                top, left = int(uniform(0, grid - h + 1)), int(uniform(0, grid - w + 1))
                new = h * w - int(mask[top : top + h, left : left + w].sum())
                if 0 < new <= high - count:
                    mask[top : top + h, left : left + w] = True
                    delta = new
            if delta:
                break
        if not delta:
            break
        count += delta
    return mask


def test_blocks_are_distributed_as_the_published_loop_has_them():
    import random

    rng = random.Random(0)
    reference = torch.stack([published_blocks(0.3 * 64, 8, 4, rng.uniform) for _ in range(1500)])
    ours = masks.blocks(1500, 8, generator(), p=1.0, share=(0.3, 0.3), least=4).view(-1, 8, 8)
    for statistic in (
        lambda m: m.sum(dim=(1, 2)).float(),
        lambda m: m.any(dim=1).sum(dim=1).float(),
        lambda m: (m[:, 1:] != m[:, :-1]).sum(dim=(1, 2)).float(),  # the length of the borders
        lambda m: m[:, 0, 0].float(),
    ):
        a, b = statistic(ours), statistic(reference)
        assert abs(float(a.mean() - b.mean())) < 4 * math.sqrt(float(a.var() + b.var()) / 1500)


JEPA = {"n_targets": 4, "target_scale": (0.15, 0.2), "target_aspect": (0.75, 1.5), "context_scale": (0.85, 1.0)}


@pytest.mark.parametrize("seed", range(5))
def test_a_context_shows_nothing_of_the_targets(seed):
    context, targets = masks.context_and_targets(20, 14, generator(seed), least=10, **JEPA)
    assert targets.shape[:2] == (20, 4)
    assert 0.13 * 196 <= targets.shape[2] <= 0.22 * 196
    assert context.shape[0] == 20
    assert context.shape[1] > 10
    for own, blocks in zip(context.tolist(), targets.tolist(), strict=True):
        assert len(set(own)) == len(own)
        assert not set(own) & {place for block in blocks for place in block}
        for block in blocks:
            rows, columns = {p // 14 for p in block}, {p % 14 for p in block}
            assert len(rows) * len(columns) == len(set(block)) == len(block)  # a rectangle
            assert max(rows) - min(rows) + 1 == len(rows)


def test_every_patch_is_seen_and_asked_for():
    context, targets = masks.context_and_targets(500, 6, generator(), least=4, **JEPA)
    assert set(context.flatten().tolist()) == set(targets.flatten().tolist()) == set(range(36))


def test_targets_give_way_where_no_context_would_be_left():
    """On 4 x 4 patches four targets can cover nearly all; the context keeps its patches all the same."""
    context, _ = masks.context_and_targets(300, 4, generator(), least=8, **JEPA)
    assert context.shape[1] > 8
    with pytest.raises(UsageError, match=r"A context of 4 x 4 patches has no more than the 16"):
        masks.context_and_targets(3, 4, generator(), least=16, **JEPA)
