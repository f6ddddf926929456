"""The nearest neighbours' weighted vote, or their weighted mean, on frozen embeddings.

Wu et al. 2018 (Instance Discrimination), Section 3.4: the k training examples nearest by cosine similarity s vote for
their classes with weight exp(s / 0.07). They take k = 200; k = 20 is what Caron et al. 2021 (DINO), Section 3.2, found
best in most of their runs, at the same temperature. Nothing is trained and nothing is random.

Of several labels a class's share is that of the neighbours who have it, among those of whom it is known; of numbers the
prediction is the neighbours' mean under the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.contracts.probe import Predictor, Probe, Problem, Report, Setup, Source
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


def means(similarity: Tensor, targets: Tensor, otherwise: Tensor, *, temperature: float = TEMPERATURE) -> Tensor:
    """Return the weighted mean (B, K) of the neighbours' targets (B, k, K), of those that are not NaN; weights as votes'.

    ``otherwise`` (K,) stands where no neighbour has a target.
    """
    is_known = ~targets.isnan()
    weights = (similarity / temperature).softmax(dim=1)[:, :, None] * is_known
    total = weights.sum(dim=1)
    return torch.where(total > 0, (weights * targets.nan_to_num()).sum(dim=1) / total, otherwise)


def classify(
    train: np.ndarray,
    train_frames: np.ndarray,
    targets: np.ndarray,
    test: np.ndarray,
    test_frames: np.ndarray,
    *,
    n_classes: int = 0,
    k: int = K,
    temperature: float = TEMPERATURE,
    device: torch.device | str = "cpu",
    test_block: int = TEST_BLOCK,
    train_block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return each class's share of the vote, float32 (M, n_classes), for M test examples; or the neighbours' mean targets.

    An example of F frames is its frames' normalised embeddings side by side, so that its similarity to another is the
    mean of their cosine similarities, frame by frame. Of training examples that are equally near, the first count.

    The embeddings may be mapped files far larger than the memory: train is read once, test once for each block of it.

    Args:
        train, test: embeddings of the images, float (., D).
        train_frames, test_frames: int (N, F) and (M, F), the images of each example as rows of the embeddings.
        targets: int (N,), the classes of the training examples; or float (N, K), whose weighted mean over the neighbours
            that have them (not NaN) is returned, and the mean over train where none has.
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
    known = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    known = known.float() if known.is_floating_point() else known.long()
    best = torch.full((m, k), -torch.inf, device=device)
    nearest = torch.zeros((m, k), dtype=torch.long, device=device)
    train_rows, test_rows = Rows(train), Rows(test)
    n_blocks = -(-n // train_block)
    with one_thread(), torch.inference_mode():
        for step in range(n_blocks):
            start = step * train_block
            trained = _units(train_rows, train_frames[start : start + train_block], train_block, device)
            for first in range(0, m, test_block):
                rows = slice(first, min(first + test_block, m))
                asked = _units(test_rows, test_frames[rows], test_block, device)
                similarity = (asked @ trained.T)[: rows.stop - first, : n - start]
                values, columns = top_k(similarity, min(k, similarity.shape[1]))
                # What was found before lies to the left: it wins a tie, as its examples come first.
                values, kept = top_k(torch.cat([best[rows], values], dim=1), k)
                best[rows] = values
                nearest[rows] = torch.cat([nearest[rows], columns + start], dim=1).gather(1, kept)
            if progress is not None:
                progress(step + 1, n_blocks)
        parts = zip(best.split(test_block), nearest.split(test_block), strict=True)
        if known.ndim == 2:
            return np.concatenate(
                [
                    means(values, known[index], known.nanmean(0), temperature=temperature).cpu().numpy()
                    for values, index in parts
                ]
            )
        return np.concatenate(
            [votes(values, known[index], n_classes, temperature=temperature).cpu().numpy() for values, index in parts]
        )


def _units(source: Rows, frames: np.ndarray, size: int, device: torch.device) -> Tensor:
    """Return the examples of ``frames`` (B, F) as unit vectors (size, F * D), with rows of zeros after the last."""
    x = F.normalize(torch.from_numpy(source.take(frames)).float().to(device), dim=2)
    x = x.flatten(1) / frames.shape[1] ** 0.5
    return F.pad(x, (0, 0, 0, size - len(x)))


def fit(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Keep the train split, which is all that there is to fit."""
    (setup,) = setups
    targets = problem.targets
    if problem.target == "labels":
        targets = np.where(targets < 0, np.nan, targets).astype(np.float32)

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        return classify(
            setup.source.features,
            problem.frames,
            targets,
            source.features,
            frames,
            n_classes=problem.n_out,
            device=device,
            progress=report,
        )

    protocol = {
        "k": min(K, len(problem.frames)),
        "temperature": TEMPERATURE,
        "similarity": "cosine" if problem.frames.shape[1] == 1 else "cosine, mean over frames",
    }
    return [Predictor(protocol, outputs)]


PROBE = Probe(
    name="knn",
    summary="a weighted vote of the 20 nearest training examples",
    takes=frozenset({"class", "labels", "number"}),
    fit=fit,
    settings=lambda protocol, augmentations: {"k": K, "temperature": TEMPERATURE},
    options=frozenset({"dtype"}),
    why_not="it trains nothing",
    is_random=False,
)
