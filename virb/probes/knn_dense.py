"""Segmentation without training: every cell of a test image asks the most similar cells of training images for their classes.

Balažević et al. 2023 (Towards In-Context Scene Understanding), as Pariza et al.'s open-hummingbird-eval measures it: a memory of
102,400 patches with the distribution of classes that the pixels of each have; the k = 30 nearest by cosine similarity s,
weighted by the softmax of s / .02, give a cell their mean distribution, which is brought to the target's pixels.

Cells are those of the encoder's last map (a convolutional network dilated to a stride of 16), and a pixel belongs to the
cell that it lies in, by stride and offset. Void never enters: it has no part in a cell's distribution, and a cell of void
alone is not kept. (Theirs makes it class 0.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.contracts.probe import FORWARD_OPTIONS, Predictor, Probe, Problem, Report, Setup, Source
from virb.errors import DataError
from virb.images.geometry import PIXELS, Axis, Grid, resample
from virb.probes import dense, dense_sources, knn

K = 30
TEMPERATURE = 0.02
MEMORY = 102_400  # cells; in float16, 420 MB of a ResNet-50's 2,048 channels
LAYER = "pyramid16"
STRIDE = 16
STEP = 32  # images whose cells are looked at together
OF_CROPS = ("crop", "crop_scales", "crop_mirror", "short_side")


def cell_counts(
    target: np.ndarray,
    place: Grid,
    shape: tuple[int, int],
    size: tuple[int, int],
    *,
    n_classes: int,
    ignore_index: int | None,
) -> np.ndarray:
    """Return how many pixels of each class lie in each cell, int (h * w, n_classes); those of ``ignore_index`` in none.

    Args:
        target: classes (H, W), at any size.
        place: where the cells of the map lie, of ``shape`` = (h, w).
        size: of the image that the map was made of, which shows the same as the target.
    """
    pixels = Grid.resized(size, target.shape)
    rows = _cells(pixels.rows, place.rows, target.shape[0], shape[0])
    columns = _cells(pixels.columns, place.columns, target.shape[1], shape[1])
    index = (rows[:, None] * shape[1] + columns) * n_classes
    is_valid = np.ones(target.shape, dtype=bool) if ignore_index is None else target != ignore_index
    found = (index + target)[is_valid]
    return np.bincount(found, minlength=shape[0] * shape[1] * n_classes).reshape(-1, n_classes)


def _cells(pixels: Axis, cells: Axis, n: int, n_cells: int) -> np.ndarray:
    """Return the cell, int (n,), in which each of ``n`` pixels has its centre; beyond the last it is the last."""
    places = np.arange(n) * pixels.stride + pixels.offset
    return np.clip(np.floor((places - cells.edge) / cells.stride), 0, n_cells - 1).astype(np.int64)


def kept_cells(counts: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of at most ``n`` cells of an image that enter the memory, those of rare classes first.

    Kept are the smallest of: the number of the image's cells that hold a class, summed over the cell's classes, times a
    number drawn from (0, 1). Cells without a class are none of them.
    """
    labelled = np.flatnonzero(counts.any(axis=1))
    if len(labelled) <= n:
        return labelled
    has = counts[labelled] > 0
    order = np.argsort((has @ has.sum(axis=0)) * rng.random(len(labelled)), kind="stable")
    return np.sort(labelled[order[:n]])


def fit(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Fill the memory from the train split, which is all that there is to fit."""
    (setup,) = setups
    k, temperature = setup.options.get("k", K), setup.options.get("temperature", TEMPERATURE)
    size_of_memory = setup.options.get("memory_patches", MEMORY)
    place = _place(setup.source)
    features, shares = _memory(problem, setup, place, size_of_memory, report)
    numbers = np.arange(len(features))[:, None]

    def outputs(source: Source, rows: np.ndarray, report: Report) -> tuple[list[Tensor], list[np.ndarray]]:
        with torch.inference_mode():
            pyramids, targets, size = source.pixels.batch(rows, 0)
            cells, shape = _flat(pyramids)
            found = knn.classify(
                features,
                numbers,
                shares,
                cells,
                np.arange(len(cells))[:, None],
                k=k,
                temperature=temperature,
                device=device,
                progress=report,
            )
            maps = torch.from_numpy(found).to(device).view(len(rows), *shape, problem.n_out).permute(0, 3, 1, 2)
            there = resample(maps, place, PIXELS, size)
            return [dense.fitted(there[i : i + 1], target.shape)[0] for i, target in enumerate(targets)], targets

    protocol = {
        "k": min(k, len(features)),
        "temperature": temperature,
        "similarity": "cosine",
        "memory_patches": len(features),
        "memory_patches_at_most": size_of_memory,
    }
    return [Predictor(protocol, outputs)]


def _memory(problem: Problem, setup: Setup, place: Grid, most: int, report: Report) -> tuple[np.ndarray, np.ndarray]:
    """Return the memory: features float16 (M, D) and the share of each class, float32 (M, n_out); M is at most ``most``."""
    source = setup.source.pixels
    # Of more images than the memory holds cells a random choice has one each.
    order = np.random.default_rng([setup.seed, source.n]).permutation(source.n)[:most]
    rows, n_each = np.sort(order), max(1, most // source.n)
    features, shares = [], []
    for start in range(0, len(rows), STEP):
        chosen = rows[start : start + STEP]
        with torch.inference_mode():
            pyramids, targets, size = source.batch(chosen, 0)
            cells, shape = _flat(pyramids)
        each = cells.reshape(len(chosen), -1, cells.shape[1])
        for row, of_image, target in zip(chosen, each, targets, strict=True):
            counts = cell_counts(target, place, shape, size, n_classes=problem.n_out, ignore_index=problem.ignore_index)
            kept = kept_cells(counts, n_each, np.random.default_rng([setup.seed, int(row)]))
            features.append(of_image[kept])
            shares.append((counts[kept] / counts[kept].sum(axis=1, keepdims=True)).astype(np.float32))
        report(start + len(chosen), len(rows))
    if not sum(map(len, features)):
        raise DataError("No pixel of the training targets has a class; check the data's annotations.")
    return np.concatenate(features), np.concatenate(shares)


def _place(source: Source) -> Grid:
    return Grid.of(source.encoder.strides_at(STRIDE)[-1], source.encoder.offsets_at(STRIDE)[-1])


def _flat(pyramids: Sequence[Sequence[Tensor]]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the cells of the last maps, float16 (B * h * w, D), with several frames side by side; and (h, w)."""
    maps = [pyramid[-1] for pyramid in pyramids]
    if len(maps) > 1:  # so that the cosine is the mean of the frames' own
        maps = [F.normalize(m, dim=1) for m in maps]
    joined = torch.cat(maps, dim=1).clamp(-dense_sources.FLOAT16_MAX, dense_sources.FLOAT16_MAX)
    height, width = joined.shape[-2:]
    return joined.permute(0, 2, 3, 1).flatten(0, 2).half().cpu().numpy(), (int(height), int(width))


def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return what decides the memory and the votes, beside the data."""
    return {
        "k": protocol.get("k", K),
        "temperature": protocol.get("temperature", TEMPERATURE),
        "memory_patches": protocol.get("memory_patches", MEMORY),
        **{name: protocol[name] for name in OF_CROPS if protocol.get(name) is not None},
    }


PROBE = Probe(
    name="knn-dense",
    summary="no training: each cell of a map takes the classes of the 30 most similar cells of training images",
    takes=frozenset({"mask"}),
    fit=fit,
    settings=settings,
    options=frozenset({*FORWARD_OPTIONS, "k", "temperature", "memory_patches"}),
    why_not="it trains nothing",
    layer=LAYER,
)
