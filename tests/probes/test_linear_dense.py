"""The linear layer on dense features: against modules of PyTorch's, alone and in company, and its losses against plain code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import virb
from virb.contracts.examples import DataContext, Examples
from virb.contracts.task import Category, Protocol, Task
from virb.images.geometry import PIXELS, Grid, grids, resample
from virb.images.sets import ArrayImages
from virb.losses import find_loss
from virb.probes import dense
from virb.probes import linear_recipes as recipes
from virb.probes.linear_layers import LinearDense, Stacked, build, train
from virb.probes.linear_recipes import Recipe

PLACES = grids((4, 8), (1.5, 0))


def classes(n_out=3, **changes):
    optimizer = recipes.Optimizer(1e-2, 1e-3, 0.1, "linear", **changes)
    return Recipe("classes", n_out, None, lambda x: x, optimizer)


class Fixed:
    """A source of two maps a frame from memory."""

    def __init__(self, seed, n=10, channels=(5, 7)):
        draw = torch.Generator().manual_seed(seed)
        self.n = n
        self.maps = [torch.randn(n, c, s, s, generator=draw) * 3 + 20 for c, s in zip(channels, (8, 4), strict=True)]
        self.targets = np.random.default_rng(seed).integers(0, 3, (n, 30, 31)).astype(np.uint8)

    def batch(self, rows, epoch):
        return [[m[rows] for m in self.maps]], list(self.targets[rows]), (32, 32)


def value(there, of_batch):
    targets, _ = of_batch
    return dense.mean_loss(there, targets, find_loss("cross_entropy"), False, None)


def trained(sources, seeds, recipe, batch_size=4, epochs=2):
    heads = [build((5, 7), PLACES, recipe, seed=seed) for seed in seeds]
    protocol = Protocol(epochs=epochs, batch_size=batch_size)
    options = {"read": lambda pyramids: pyramids[0], "recipe": recipe, "protocol": protocol}
    train(heads, sources, seeds, value, device=torch.device("cpu"), progress=lambda done, total: None, **options)
    return heads


def test_it_trains_as_modules_of_pytorch_do():
    recipe, source = classes(), Fixed(0)
    (ours,) = trained([source], [3], recipe)
    head = build((5, 7), PLACES, recipe, seed=3).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2, weight_decay=1e-3)
    asked = dense.asked_rows(source.n, Protocol(epochs=2, batch_size=4), torch.Generator().manual_seed(3))
    for step, (rows, epoch) in enumerate(asked):
        (maps,), targets, size = source.batch(rows, epoch)
        loss = value(head(maps, size), (targets, 0.0))
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = recipe.optimizer.rate(step, 6)
        optimizer.step()
    for (name, a), b in zip(ours.state_dict().items(), head.state_dict().values(), strict=True):
        if "num_batches" not in name:
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


def test_a_head_is_the_same_to_the_bit_whoever_trains_beside_it():
    for how in ({}, {"clip": 0.1}):
        sources = [Fixed(k) for k in range(3)]
        together = trained(sources, [0, 1, 2], classes(**how))
        (alone,) = trained([sources[1]], [1], classes(**how))
        for a, b in zip(together[1].state_dict().values(), alone.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_it_is_the_layer_on_resized_and_concatenated_maps():
    head = build((5, 7), PLACES, classes(), seed=0).eval()
    maps = Fixed(0).maps
    whole = [resample(m, place, PIXELS, (32, 32)) for m, place in zip(maps, PLACES, strict=True)]
    joined = torch.cat([norm(m) for norm, m in zip(head.norms, whole, strict=True)], dim=1)
    weight = torch.cat([layer.weight for layer in head.layers], dim=1)
    expected = F.conv2d(joined, weight, head.layers[0].bias + head.layers[1].bias)
    torch.testing.assert_close(head(maps, (32, 32)), expected, atol=1e-5, rtol=1e-4)


def test_depth_outputs_lie_at_quarters_of_the_coarsest_cells():
    """A ramp whose features are their own positions stays one."""
    place = Grid.of(16, 7.5)
    head = LinearDense((1,), [place], 1, refined=True).eval()
    nn.init.ones_(head.layers[0].weight)
    ramp = (torch.arange(4.0) * 16 + 7.5).expand(1, 1, 4, 4)
    found = resample(head([ramp], (64, 64)), head.target, PIXELS, (64, 64))[0, 0, 32] * math.sqrt(1 + 1e-5)
    assert (found - torch.arange(64.0))[11:53].abs().max() < 0.01


def test_dropout_takes_whole_channels_and_stays_out_of_the_test():
    stack = Stacked([build((5, 7), PLACES, classes(), seed=0)], torch.device("cpu"))
    maps = [torch.ones(2, c, s, s) + torch.rand(2, c, 1, 1) for c, s in ((5, 8), (7, 4))]
    (first,), (second,) = (stack.outputs([maps], 0.5, torch.Generator().manual_seed(k)) for k in (0, 1))
    assert not torch.allclose(first[0], second[0])
    assert (first[0].flatten(2).std(2) < 1e-5).all()  # every place of an image alike


@pytest.mark.parametrize("done", [0.0, 0.5])
def test_the_depth_loss_is_the_published_one(done):
    rng = np.random.default_rng(0)
    prediction, target = rng.uniform(0.5, 9, (2, 11, 13)), rng.uniform(0.5, 12, (2, 11, 13))
    target[0, 0, 0], target[1, 3, 4] = np.nan, 0.0
    found = recipes.depth_loss(
        [(torch.tensor(prediction)[:, None], torch.tensor(target))], done, cap=10.0, gradient=0.5
    )
    with np.errstate(invalid="ignore"):
        valid = (target > 1e-3) & (target <= 10)
    g = np.log(prediction + 1e-3) - np.log(np.where(valid, target, 1) + 1e-3)
    mean = 0.15 * g[valid].mean() ** 2
    expected = math.sqrt(mean + (g[valid].var(ddof=1) if done else 0))
    for step in (1, 2, 4, 6):
        e, ok, total = g[:, ::step, ::step], valid[:, ::step, ::step], 0.0
        for image in range(2):
            rows, columns = e.shape[1:]
            for i in range(rows):
                for j in range(columns):
                    if i + 2 < rows and ok[image, i, j] and ok[image, i + 2, j]:
                        total += abs(e[image, i, j] - e[image, i + 2, j])
                    if j + 2 < columns and ok[image, i, j] and ok[image, i, j + 2]:
                        total += abs(e[image, i, j] - e[image, i, j + 2])
        expected += 0.5 * total / ok.sum()
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_bins_and_normals_by_hand():
    outputs = torch.full((1, 256, 1, 1), -1.0)
    outputs[0, 0] = 0.9  # weight 1 at .001, .1 at all others
    centres = np.linspace(1e-3, 10, 256)
    expected = (centres[0] + 0.1 * centres[1:].sum()) / (1 + 25.5)
    assert recipes.bins_to_depth(outputs, 10.0).item() == pytest.approx(expected, rel=1e-5)
    guess = torch.tensor([0.0, 2.0, 0.0, 0.5])[None, :, None, None].expand(1, 4, 1, 2)
    truth = torch.tensor([[[[0.0, 0.0, 1.0], [math.nan, 0, 0]]]])
    kappa = 1.51
    expected = math.log(1 + math.exp(-math.pi * kappa)) - math.log(kappa**2 + 1) + kappa * math.pi / 2
    assert recipes.normals_loss([(guess, truth)], 0.0).item() == pytest.approx(expected, rel=1e-5)


def test_rates_are_the_published_ones():
    how = recipes.DINOV2_SEGMENTATION
    assert how.rate(0, 40_000) == pytest.approx(1e-9)
    assert how.rate(1500, 40_000) == pytest.approx(1e-3)
    assert how.rate(20_750, 40_000) == pytest.approx(5e-4)
    assert recipes.DEPTH.rate(12_800, 38_400) == pytest.approx(3e-4)
    assert recipes.NORMALS.rate(10**6, 10**6) == pytest.approx(5e-6)


def halves(kind):
    """Images that are dark on one side of an edge: two classes, two depths or two directions."""

    def read(context: DataContext, split: str) -> Examples:
        rng = np.random.default_rng(split == "test")
        edges = rng.integers(12, 52, 16)
        masks = (np.arange(64)[None, None, :] >= edges[:, None, None]).repeat(64, axis=1)
        images = (masks[..., None] * 150 + rng.integers(0, 40, (16, 64, 64, 3))).astype(np.uint8)
        found = {
            "mask": masks.astype(np.uint8),
            "depth": np.where(masks, 2.0, 6.0).astype(np.float32),
            "direction": np.where(masks[..., None], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]).astype(np.float32),
        }[kind]
        return Examples(
            ArrayImages.of(f"{kind} {split}", images), np.arange(16)[:, None], found, [str(k) for k in range(16)]
        )

    return read


@pytest.mark.parametrize(
    ("kind", "metric", "better_than"),
    [("mask", "miou", 0.8), ("depth", "depth_rmse", -2.0), ("direction", "mean_angle", -35)],
)
def test_it_learns_classes_depths_and_directions(kind, metric, better_than, tmp_path):
    options = {
        "mask": {},
        "depth": {"quantity": "depth"},
        "direction": {"quantity": kind, "options": {"out_channels": 3}},
    }
    task = Task(
        name=f"halves-{kind}",
        summary="two sides",
        category=Category.SEMANTIC_PIXEL if kind == "mask" else Category.STRUCTURAL_PIXEL,
        head="unet",
        loss="cross_entropy" if kind == "mask" else "l1",
        metric=metric,
        data=halves(kind),
        classes=2 if kind == "mask" else None,
        protocol=Protocol(epochs=30, batch_size=4),
        **options[kind],
    )
    encoders = ["pixels:8:size=64"]
    table = virb.evaluate(
        encoders, task, probe="linear-dense", out=tmp_path / "results", data=DataContext(cache=tmp_path)
    )
    score = table["score"] if kind == "mask" else -table["score"]
    assert (score > better_than).all(), table["score"]
    assert set(table["probe"]) == {"linear-dense"}
