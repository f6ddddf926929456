"""A linear layer on dense features: BatchNorm and a 1x1 convolution on each map, and many of them trained as one problem.

The heads of a group have maps of one shape. Each has its own order of examples, statistics, weights and gradients; what they
share is the arithmetic of a step. A BatchNorm and a 1x1 convolution are one matrix product on centred features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virb.errors import TrainingError
from virb.heads.layers import BatchNorm2d
from virb.images.geometry import PIXELS, Grid, resample
from virb.probes import dense, dense_sources
from virb.probes.linear_recipes import Recipe
from virb.system.threads import one_thread, own_generator
from virb.training.curves import Curve

Maps = list[Tensor]


class LinearDense(nn.Module):
    """BatchNorm and a 1x1 convolution on every map, added up at the pixels of the image: (N, n_out, h, w).

    That is the layer on maps that were first resized and concatenated, as both are linear, with the statistics of each map's
    own cells. ``places`` are the maps' grids. With ``refined``, outputs are wanted at a quarter of the coarsest map's cells.
    """

    def __init__(self, channels: Sequence[int], places: Sequence[Grid], n_out: int, *, refined: bool = False) -> None:
        super().__init__()
        self.places = list(places)
        self.norms = nn.ModuleList(BatchNorm2d(c) for c in channels)
        self.layers = nn.ModuleList(nn.Conv2d(c, n_out, 1) for c in channels)
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        coarse = self.places[-1].rows
        fine = Grid.of(coarse.stride / 4, coarse.edge + coarse.stride / 8)
        self.target = fine if refined else PIXELS

    def size_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return how many outputs down and across an image of ``size`` has."""
        step = self.target.rows.stride
        return (-int(-size[0] // step), -int(-size[1] // step))

    def forward(self, maps: Maps, size: tuple[int, int]) -> Tensor:
        return self.placed([layer(norm(x)) for layer, norm, x in zip(self.layers, self.norms, maps, strict=True)], size)

    def placed(self, outputs: Maps, size: tuple[int, int]) -> Tensor:
        """Return the sum of the maps' own outputs at the target's places."""
        there = self.size_of(size)
        parts = [resample(x, place, self.target, there) for x, place in zip(outputs, self.places, strict=True)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def build(
    channels: Sequence[int], places: Sequence[Grid], recipe: Recipe, *, seed: int, initial: float = 0.0
) -> LinearDense:
    """Return a head with fresh weights; its outputs start at ``initial``."""
    with own_generator(seed):
        head = LinearDense(channels, places, recipe.n_out, refined=recipe.resizes_prediction)
    last: Any = head.layers[-1]
    with torch.no_grad():
        last.bias.fill_(initial)
    return head


class Stacked:
    """The weights of many heads of one shape, level by level, with a leading axis (E, ...)."""

    def __init__(self, heads: Sequence[LinearDense], device: torch.device) -> None:
        self.heads = heads
        self.levels = []
        for k in range(len(heads[0].layers)):
            of_level: dict[str, Tensor] = {}
            pairs: list[tuple[Any, Any]] = [(head.norms[k], head.layers[k]) for head in heads]
            of_level["gamma"] = torch.stack([norm.weight.detach() for norm, _ in pairs])
            of_level["beta"] = torch.stack([norm.bias.detach() for norm, _ in pairs])
            of_level["weight"] = torch.stack([layer.weight.detach()[:, :, 0, 0].t() for _, layer in pairs])  # (E, D, K)
            of_level["bias"] = torch.stack([layer.bias.detach() for _, layer in pairs])
            self.levels.append({name: value.to(device).requires_grad_() for name, value in of_level.items()})
        self.parameters = [value for level in self.levels for value in level.values()]
        self.statistics = [
            (torch.zeros_like(level["gamma"]).detach(), torch.ones_like(level["gamma"]).detach())
            for level in self.levels
        ]

    def outputs(self, maps: Sequence[Maps], drop: float, generator: torch.Generator | None) -> list[Maps]:
        """Return each head's own outputs (B, K, h, w), level by level, for its maps (B, D, h, w); updates the statistics."""
        found: list[Maps] = [[] for _ in self.heads]
        for k, level in enumerate(self.levels):
            n, _, height, width = maps[0][k].shape
            x = torch.stack([of_head[k].permute(0, 2, 3, 1).flatten(0, 2) for of_head in maps])  # (E, N, D)
            if drop:
                assert generator is not None
                shape = (len(x), n, 1, x.shape[-1])
                kept = torch.rand(shape, generator=generator, device=generator.device).to(x.device) >= drop
                x = (x.unflatten(1, (n, -1)) * kept / (1 - drop)).flatten(1, 2)
            mean = x.mean(1, keepdim=True)
            x = x.sub_(mean)
            variance = x.square().mean(1)
            self._remember(k, mean[:, 0], variance, x.shape[1])
            norm: Any = self.heads[0].norms[k]
            scale = level["gamma"] * torch.rsqrt(variance + norm.eps)
            shift = torch.bmm(level["beta"][:, None], level["weight"]) + level["bias"][:, None]
            y = torch.baddbmm(shift, x, scale[:, :, None] * level["weight"])
            y = y.unflatten(1, (n, height, width)).permute(0, 1, 4, 2, 3)
            for of_head, one in zip(found, y, strict=True):
                of_head.append(one)
        return found

    def _remember(self, k: int, mean: Tensor, variance: Tensor, n: int) -> None:
        norm: Any = self.heads[0].norms[k]
        running_mean, running_variance = self.statistics[k]
        running_mean.lerp_(mean, norm.momentum)
        running_variance.lerp_(variance * (n / max(1, n - 1)), norm.momentum)

    def clip(self, largest: float) -> None:
        """Scale each head's gradient down to the norm ``largest``."""
        grads = [value.grad for value in self.parameters if value.grad is not None]
        norms = torch.stack([grad.flatten(1).square().sum(1) for grad in grads]).sum(0).sqrt()
        factor = (largest / (norms + 1e-6)).clamp(max=1)
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))

    @torch.no_grad()
    def copy_to_heads(self) -> None:
        """Put the weights and the statistics into the heads."""
        for k, level in enumerate(self.levels):
            for e, head in enumerate(self.heads):
                norm: Any = head.norms[k]
                layer: Any = head.layers[k]
                norm.weight.copy_(level["gamma"][e])
                norm.bias.copy_(level["beta"][e])
                norm.running_mean.copy_(self.statistics[k][0][e])
                norm.running_var.copy_(self.statistics[k][1][e])
                layer.weight.copy_(level["weight"][e].t()[:, :, None, None])
                layer.bias.copy_(level["bias"][e])


def train(
    heads: Sequence[LinearDense],
    sources: Sequence[dense_sources.Source],
    seeds: Sequence[int],
    value: Callable[[Tensor, Any], Tensor | None],
    *,
    read: Callable[[list[Maps]], Maps],
    recipe: Recipe,
    protocol: Any,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> list[dict[int, float]]:
    """Train ``heads`` in place, each on its own source and in its own order, and leave them in evaluation mode.

    Returns each head's mean training loss by epoch.

    Args:
        value: of outputs and targets of one head, its loss; None where no pixel has a target.
        read: the maps that the heads take, of an example's pyramids.
        protocol: epochs and batch size.

    Raises:
        TrainingError: a loss was not finite.
    """
    n = sources[0].n
    stack = Stacked(heads, device)
    how = recipe.optimizer
    optimizer = torch.optim.AdamW(stack.parameters, lr=how.lr, betas=how.betas, weight_decay=how.weight_decay)
    orders = [dense.asked_rows(n, protocol, torch.Generator().manual_seed(seed)) for seed in seeds]
    draws = torch.Generator().manual_seed(seeds[0]) if how.dropout else None
    n_batches = -(-n // protocol.batch_size)
    n_steps = protocol.n_steps(n_batches)
    curves = [Curve({}, n_batches=n_batches, n_steps=n_steps) for _ in heads]

    def batches(asks: Sequence[tuple[Any, int]]) -> list[dense_sources.Batch]:
        return [source.batch(*ask) for source, ask in zip(sources, asks, strict=True)]

    with one_thread():
        for step, made in enumerate(dense.made_ahead(zip(*orders, strict=True), batches, device)):
            outputs = stack.outputs([read(pyramids) for pyramids, _, _ in made], how.dropout, draws)
            losses = []
            for head, maps, (_, targets, size) in zip(heads, outputs, made, strict=True):
                there = head.placed(maps, size)
                if recipe.resizes_prediction:
                    there = resample(recipe.predict(there), head.target, PIXELS, size)
                found = value(there, (targets, step / n_steps))
                losses.append(there.sum() * 0 if found is None else found)
            each = torch.stack(losses)
            for curve, loss in zip(curves, each.detach(), strict=True):
                curve.add(step, loss)
            is_read = device.type == "cpu" or (step + 1) % n_batches == 0 or step + 1 == n_steps
            if is_read and not bool(torch.isfinite(each.detach()).all()):
                raise TrainingError(
                    f"The loss of {int((~torch.isfinite(each.detach())).sum())} of {len(heads)} linear layers was not finite "
                    f"in step {step + 1} of {n_steps}. The features may be far out of range."
                )
            optimizer.zero_grad()
            each.sum().backward()
            if how.clip is not None:
                stack.clip(how.clip)
            for group in optimizer.param_groups:
                group["lr"] = how.rate(step, n_steps)
            optimizer.step()
            progress(step + 1, n_steps)
    stack.copy_to_heads()
    for head in heads:
        head.to(device).eval()
    return [curve.losses for curve in curves]
