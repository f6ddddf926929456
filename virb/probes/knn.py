"""Weighted k-nearest-neighbour classification on frozen embeddings.

Wu et al. 2018 (Instance Discrimination), Section 3.4: the k training examples nearest by cosine similarity s vote for
their classes with weight exp(s / 0.07). They take k = 200; k = 20 is what Caron et al. 2021 (DINO), Section 3.2, found
best in most of their runs, at the same temperature. Nothing is trained and nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.system.mapped import Rows
from virb.system.threads import one_thread

K = 20
TEMPERATURE = 0.07
# Similarities are computed a block of test examples by a block of training examples at a time.
TEST_BLOCK = 1024
TRAIN_BLOCK_BYTES = 64 << 20
MAX_TRAIN_BLOCK = 16384


def top_k(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest of each row of ``similarity`` (B, N) and their columns, both (B, k).

    Of equal ones the leftmost are taken, and come first.
    """
    values, columns = similarity.topk(k, dim=1)
    # topk leaves open which of equal values it takes, and their order; rows where that matters are few.
    is_open = (values[:, 1:] == values[:, :-1]).any(dim=1) | ((similarity >= values[:, -1:]).sum(dim=1) > k)
    rows = is_open.nonzero()[:, 0]
    if len(rows):
        ordered = similarity[rows].sort(dim=1, descending=True, stable=True)
        values[rows], columns[rows] = ordered.values[:, :k], ordered.indices[:, :k]
    return values, columns


def votes(similarity: Tensor, labels: Tensor, n_classes: int, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return each class's share of the vote (B, n_classes), given the neighbours' similarities and classes (B, k).

    A neighbour votes with exp(similarity / temperature); the rows sum to 1.
    """
    weights = (similarity / temperature).softmax(dim=1)
    return torch.zeros(len(weights), n_classes, device=weights.device).scatter_add_(1, labels, weights)


def classify(
    train: np.ndarray,
    train_frames: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    test_frames: np.ndarray,
    *,
    n_classes: int,
    k: int = K,
    temperature: float = TEMPERATURE,
    device: torch.device | str = "cpu",
    test_block: int = TEST_BLOCK,
    train_block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return each class's share of the vote, float32 (M, n_classes), for M test examples.

    An example of F frames is its frames' normalised embeddings side by side, so that its similarity to another is the
    mean of their cosine similarities, frame by frame. Of training examples that are equally near, the first count.

    The embeddings may be mapped files far larger than the memory: train is read once, test once for each block of it.

    Args:
        train, test: embeddings of the images, float (., D).
        train_frames, test_frames: int (N, F) and (M, F), the images of each example as rows of the embeddings.
        targets: int (N,), the classes of the training examples.
        test_block, train_block: examples taken at once; they bound the memory and do not change the answer.
        progress: called as ``progress(done, total)`` in blocks of train.
    """
    n, m = len(train_frames), len(test_frames)
    k = min(k, n)
    if train_block is None:
        train_block = min(MAX_TRAIN_BLOCK, max(k, TRAIN_BLOCK_BYTES // (4 * train.shape[1] * train_frames.shape[1])))
    # One shape for all blocks: matrix libraries round differently at the edges of a smaller one.
    train_block, test_block = min(train_block, n), min(test_block, m)
    device = torch.device(device)
    labels = torch.from_numpy(np.ascontiguousarray(targets)).long().to(device)
    best = torch.full((m, k), -torch.inf, device=device)
    nearest = torch.zeros((m, k), dtype=torch.long, device=device)
    train_rows, test_rows = Rows(train), Rows(test)
    n_blocks = -(-n // train_block)
    with one_thread(), torch.inference_mode():
        for step in range(n_blocks):
            start = step * train_block
            known = _units(train_rows, train_frames[start : start + train_block], train_block, device)
            for first in range(0, m, test_block):
                rows = slice(first, min(first + test_block, m))
                asked = _units(test_rows, test_frames[rows], test_block, device)
                similarity = (asked @ known.T)[: rows.stop - first, : n - start]
                values, columns = top_k(similarity, min(k, similarity.shape[1]))
                # What was found before lies to the left: it wins a tie, as its examples come first.
                values, kept = top_k(torch.cat([best[rows], values], dim=1), k)
                best[rows] = values
                nearest[rows] = torch.cat([nearest[rows], columns + start], dim=1).gather(1, kept)
            if progress is not None:
                progress(step + 1, n_blocks)
        shares = [
            votes(values, labels[index], n_classes, temperature=temperature).cpu().numpy()
            for values, index in zip(best.split(test_block), nearest.split(test_block), strict=True)
        ]
    return np.concatenate(shares)


def _units(source: Rows, frames: np.ndarray, size: int, device: torch.device) -> Tensor:
    """Return the examples of ``frames`` (B, F) as unit vectors (size, F * D), with rows of zeros after the last."""
    x = F.normalize(torch.from_numpy(source.take(frames)).float().to(device), dim=2)
    x = x.flatten(1) / frames.shape[1] ** 0.5
    return F.pad(x, (0, 0, 0, size - len(x)))
