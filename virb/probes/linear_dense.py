"""A linear layer on the frozen encoder's dense features, for pixelwise tasks, as DINOv2, DINOv3 and Probe3D judge them.

BatchNorm and a 1x1 convolution on the patch tokens (or a convolutional network's last map, its stages dilated to a stride of
16), brought to the target's own pixels, where the loss and the metric are computed. What is predicted decides the recipe
(:mod:`virb.probes.linear_recipes`): classes by cross-entropy, a depth by 256 bins and SigLoss, directions with their
uncertainty, any other numbers by the task's own loss. Epochs, batch size and crops are the task's; the score is read once,
after the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from virb.contracts.probe import FORWARD_OPTIONS, Predictor, Probe, Problem, Report, Setup, Source
from virb.contracts.task import Task
from virb.images.geometry import PIXELS, grids, resample
from virb.probes import dense
from virb.probes import linear_recipes as recipes
from virb.probes.linear_layers import LinearDense, Maps, build, train
from virb.probes.linear_recipes import Recipe

LAYER = "pyramid16"
STRIDE = 16
N_SAMPLED = 256  # training targets that a depth's range and a number's mean are taken from


def recipe_name(target: str, quantity: str, n_out: int) -> str:
    """Return which recipe pixels of such targets are trained by."""
    if target == "mask":
        return "classes"
    if quantity == "depth" and n_out == 1:
        return "depth"
    return "directions" if quantity == "direction" and n_out == 3 else "numbers"


def refuses(task: Task, target: str) -> str:
    """Return why the task cannot be fitted: its recipe needs the task's own loss, and it has none."""
    name = recipe_name(target, task.quantity, task.n_out)
    if task.loss or name in ("depth", "directions"):
        return ""
    return f"its head {task.head} does not train, so that it names no loss, by which a linear layer learns {name}"


def recipe_of(problem: Problem, segmentation: recipes.Optimizer, gradient: float) -> tuple[Recipe, float]:
    """Return how the problem is trained, and where the outputs start."""
    name = recipe_name(problem.target, problem.quantity, problem.n_out)
    if name == "classes":
        return Recipe(name, problem.n_out, _own_loss(problem), _as_it_is, segmentation), 0.0
    if name == "depth":
        cap = problem.cap or _largest(problem.targets)
        loss = partial(recipes.depth_loss, cap=cap, gradient=gradient)
        decode = partial(recipes.bins_to_depth, cap=cap)
        return Recipe(name, recipes.N_BINS, loss, decode, recipes.DEPTH, resizes_prediction=True), 0.0
    if name == "directions":
        return Recipe(name, 4, recipes.normals_loss, _first_three, recipes.NORMALS), 0.0
    return Recipe(name, problem.n_out, _own_loss(problem), _as_it_is, segmentation), dense.mean_target(problem.targets)


def _as_it_is(outputs: Tensor) -> Tensor:
    return outputs


def _first_three(outputs: Tensor) -> Tensor:
    return torch.nn.functional.normalize(outputs[:, :3], dim=1)


def _own_loss(problem: Problem) -> recipes.Total:
    """The task's own loss, as a mean over the pixels that have a target."""

    def total(pairs: Sequence[tuple[Tensor, Tensor]], done: float) -> Tensor:
        sums: list[Tensor] = []
        counts: list[Any] = []
        for output, target in pairs:
            if problem.target == "map":
                target = target[:, None] if target.ndim == 3 else target.permute(0, 3, 1, 2)
            value, n = problem.loss.total(output, target, problem.ignore_index)
            sums.append(value)
            counts.append(n)
        return torch.stack(sums).sum() / torch.as_tensor(sum(counts)).clamp(min=1)

    return total


def _largest(targets: Any) -> float:
    """Return the largest value of an even sample of the targets: where the bins of a depth end."""
    rows = np.unique(np.linspace(0, len(targets) - 1, min(N_SAMPLED, len(targets))).astype(int))
    values = [float(np.nanmax(found)) for row in rows if np.isfinite(found := np.asarray(targets[int(row)])).any()]
    return max([2 * recipes.LEAST_M, *values])


def fit_with(
    problem: Problem,
    setups: Sequence[Setup],
    device: torch.device,
    report: Report,
    *,
    segmentation: recipes.Optimizer,
    gradient: float,
    n_maps: int | None,
) -> list[Predictor]:
    """Train one linear layer for each setup, all together: they have maps of one shape.

    Args:
        segmentation: how classes and other numbers are trained.
        gradient: the weight of a depth's gradient loss.
        n_maps: of each pyramid, how many maps are read, from the last on (None: all).
    """
    recipe, initial = recipe_of(problem, segmentation, gradient)
    first, n_frames = setups[0].source.encoder, problem.frames.shape[1]
    levels = slice(None) if n_maps is None else slice(-n_maps, None)
    channels = [n_frames * c for c in first.channels[levels]]
    places = grids(first.strides_at(STRIDE)[levels], first.offsets_at(STRIDE)[levels])
    heads = [build(channels, places, recipe, seed=setup.seed, initial=initial) for setup in setups]

    def read(pyramids: list[Maps]) -> Maps:
        chosen = [pyramid[levels] for pyramid in pyramids]
        return [torch.cat(of_level, dim=1) if n_frames > 1 else of_level[0] for of_level in zip(*chosen, strict=True)]

    def value(there: Tensor, of_batch: tuple[list[np.ndarray], float]) -> Tensor:
        targets, done = of_batch
        return recipe.loss([(output, _numbers(wanted)) for output, wanted in dense.by_size(there, targets)], done)

    protocol = setups[0].protocol
    losses = train(
        heads,
        [setup.source.pixels for setup in setups],
        [setup.seed for setup in setups],
        value,
        read=read,
        recipe=recipe,
        protocol=protocol,
        device=device,
        progress=report,
    )

    def predictor(head: LinearDense, losses: dict[int, float]) -> Predictor:
        def outputs(source: Source, rows: np.ndarray, report: Report) -> tuple[list[Tensor], list[np.ndarray]]:
            with torch.inference_mode():
                pyramids, targets, size = source.pixels.batch(rows, 0)
                found = recipe.predict(head(read(pyramids), size))
                if recipe.resizes_prediction:
                    found = resample(found, head.target, PIXELS, size)
                return [dense.fitted(found[k : k + 1], target.shape)[0] for k, target in enumerate(targets)], targets

        return Predictor({**said, "recipe": recipe.name}, outputs, losses)

    said = {
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "optimizer": "adamw",
        "lr": recipe.optimizer.lr,
    }
    return [predictor(*pair) for pair in zip(heads, losses, strict=True)]


def _numbers(target: Tensor) -> Tensor:
    return (
        target if target.dtype in (torch.uint8, torch.int64, torch.int32, torch.int16, torch.bool) else target.float()
    )


def settings_of(
    segmentation: recipes.Optimizer, gradient: float, n_maps: int | None
) -> Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]]:
    """Return what decides a result: the task's epochs, batches and crops, and every constant of the recipes."""

    def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
        own = {key: value for key, value in protocol.items() if key not in ("optimizer", "lr")}
        return {
            **own,
            "segmentation": segmentation,
            "depth": recipes.DEPTH,
            "directions": recipes.NORMALS,
            "n_bins": recipes.N_BINS,
            "gradient": gradient,
            "n_maps": n_maps,
        }

    return settings


def linear_probe(
    name: str, summary: str, *, segmentation: recipes.Optimizer, gradient: float, n_maps: int | None
) -> Probe:
    """Return a probe of this kind."""
    how: dict[str, Any] = {"segmentation": segmentation, "gradient": gradient, "n_maps": n_maps}
    return Probe(
        name=name,
        summary=summary,
        takes=frozenset({"mask", "map"}),
        refuses=refuses,
        fit=partial(fit_with, **how),
        settings=settings_of(**how),
        options=frozenset({"epochs", *FORWARD_OPTIONS}),
        why_not="its optimiser and rate are those of the published recipe",
        maps_together=True,
        layer=LAYER,
    )


PROBE = linear_probe(
    name="linear-dense",
    summary="BatchNorm and a 1x1 convolution on the last map, by DINOv2's recipe; depth and normals by their published ones",
    segmentation=recipes.DINOV2_SEGMENTATION,
    gradient=0.5,
    n_maps=1,
)
