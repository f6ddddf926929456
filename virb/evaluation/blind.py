"""What a task gives to a prediction that looks at no image: the fact that every score of it is to be read beside.

It is made from the training targets alone and scored on the test split by the task's own metric: the classes' shares or the
mean of an image-level task, a random order where something is to be found, and of a pixelwise one the majority map, the majority class, the median map, zero flow or the
mean direction. Where a task has several of these, the best on the training targets counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from virb.contracts.examples import Examples
from virb.contracts.metric import State
from virb.errors import DataError
from virb.evaluation.parts import Parts
from virb.probes.dense import fitted

MOST_TRAIN = 1000  # training targets that a map is made of, an even choice of them
LARGEST = 128  # pixels of a side: smaller targets of one size are taken as they are, others at SIDE x SIDE
SIDE = 64
STEP = 32

Blind = dict[str, Any]


def blind_score(parts: Parts, train: Examples, test: Examples) -> Blind | None:
    """Return ``name``, ``score`` and ``ceiling`` (what a perfect prediction scores); None where no target is valid.

    ``parts`` are those of the task that is scored.
    """
    try:
        name, output = _chosen(parts, train)
        score = _scored(parts, output, test, np.arange(len(test)))
    except DataError:
        return None
    if not np.isfinite(score):
        return None
    return {"name": name, "score": float(score), "ceiling": ceiling(parts)}


def ceiling(parts: Parts) -> float:
    """Return the score of a perfect prediction: 1 for shares of which more is better, and no error for all others."""
    return 1.0 if parts.metric.unit == "fraction" and parts.metric.better == "higher" else 0.0


def _chosen(parts: Parts, train: Examples) -> tuple[str, Any]:
    if not parts.is_pixelwise:
        return _of_examples(parts, np.asarray(train.targets))
    rows = np.unique(np.linspace(0, len(train) - 1, min(MOST_TRAIN, len(train))).astype(int))
    found = list(_of_pixels(parts, train, rows))
    if len(found) == 1:
        return found[0]
    sign = 1 if parts.metric.better == "higher" else -1
    some = rows[:: max(1, len(rows) // 200)]
    return max(found, key=lambda one: sign * _scored(parts, one[1], train, some))


def _of_examples(parts: Parts, targets: np.ndarray) -> tuple[str, np.ndarray]:
    """Return one row of outputs, the same for every example."""
    if parts.target == "class":
        return "shares of the classes", np.bincount(targets.astype(np.int64), minlength=parts.task.n_classes) / len(
            targets
        )
    if parts.target == "labels":
        counts = (targets >= 0).sum(0)
        return "shares of the labels", (targets == 1).sum(0) / np.maximum(1, counts)
    if parts.target == "relevance":
        return "one random order", np.random.default_rng(0).random(int(targets.max()) + 1)
    with np.errstate(invalid="ignore"):
        return "mean", np.nanmean(targets.reshape(len(targets), -1).astype(np.float64), axis=0)


def _of_pixels(parts: Parts, train: Examples, rows: np.ndarray) -> Iterator[tuple[str, Tensor]]:
    """Yield outputs (1, C, h, w), to be brought to a target's size."""
    shapes = {np.asarray(train.targets[int(row)]).shape[:2] for row in rows[:: max(1, len(rows) // 16)]}
    size = shapes.pop() if len(shapes) == 1 else (SIDE, SIDE)
    if max(size) > LARGEST:
        size = (SIDE, SIDE)
    found = [_thinned(np.asarray(train.targets[int(row)]), size) for row in rows]
    if parts.target == "mask":
        shares = np.stack([sum((one == k).astype(np.float32) for one in found) for k in range(parts.task.n_classes)])
        total = shares.sum((1, 2))
        if not total.any():
            raise DataError("No pixel of the training targets has a class.")
        yield "majority map", _output(np.where(shares.sum(0) > 0, shares, total[:, None, None]))
        yield "majority class", _output(np.broadcast_to(total[:, None, None], shares.shape))
        return
    stack = np.stack(found).astype(np.float32)
    stack = stack[..., None] if stack.ndim == 3 else stack[..., : parts.task.n_out]
    is_none = ~np.isfinite(stack).all(-1)
    if is_none.all():
        raise DataError("No pixel of the training targets has a value.")
    stack[is_none] = np.nan
    reduce: Any = np.nanmean if parts.task.quantity == "direction" else np.nanmedian
    middle = reduce(stack.reshape(-1, stack.shape[-1]), axis=0)
    nowhere = is_none.all(0)
    stack[:, nowhere] = middle
    kind = "mean direction" if parts.task.quantity == "direction" else "median"
    yield f"{kind} map", _output(np.moveaxis(reduce(stack, axis=0), -1, 0))
    if parts.task.quantity == "direction":
        yield "mean direction", _output(np.broadcast_to(middle[:, None, None], (len(middle), *size)))
    if parts.task.quantity == "flow":
        yield "zero flow", torch.zeros(1, stack.shape[-1], *size)


def _output(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))[None]


def _thinned(target: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the target's pixels nearest to the places of a grid of ``size``."""
    if target.shape[:2] == tuple(size):
        return target
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int).clip(0, side - 1)
        for n, side in zip(size, target.shape[:2], strict=True)
    )
    return target[rows][:, columns]


def _scored(parts: Parts, output: Any, examples: Examples, rows: np.ndarray) -> float:
    state: State = parts.new_state()
    if not parts.is_pixelwise:
        outputs = np.broadcast_to(output.astype(np.float32), (len(rows), len(output)))
        state.update(outputs, np.asarray(examples.targets)[rows])
        return state.score
    for start in range(0, len(rows), STEP):
        targets = [np.asarray(examples.targets[int(row)]) for row in rows[start : start + STEP]]
        state.update([fitted(output, target.shape)[0] for target in targets], targets)
    return state.score
