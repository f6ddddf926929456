"""The nearest neighbours' weighted vote, or their weighted mean, on frozen embeddings.

Wu et al. 2018 (Instance Discrimination), Section 3.4: the k training examples nearest by cosine similarity s vote for
their classes with weight exp(s / 0.07). They take k = 200; k = 20 is what Caron et al. 2021 (DINO), Section 3.2, found
best in most of their runs, at the same temperature. Nothing is trained and nothing is random.

Of several labels a class's share is that of the neighbours who have it, among those of whom it is known; of numbers the
prediction is the neighbours' mean under the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from virb.contracts.probe import FORWARD_OPTIONS, Predictor, Probe, Problem, Report, Setup, Source
from virb.system.mapped import Rows
from virb.system.products import similarities
from virb.system.threads import one_thread

K = 20
TEMPERATURE = 0.07
# What k=auto chooses among, by leaving out each of at most MAX_ASKED training examples in turn.
KS = (1, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.02, 0.07, 0.2)
MAX_ASKED = 10_000
# Similarities are computed a block of test examples by a block of training examples at a time.
TEST_BLOCK = 512  # so that what a block is compared by (some 25 MB) stays in a processor's cache
TRAIN_BLOCK_BYTES = 64 << 20
MAX_TRAIN_BLOCK = 16384
GROUP = 20  # columns that are looked at by their largest value


def top_k(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest of each row of ``similarity`` (B, N) and their columns, both (B, k).

    Of equal ones the leftmost are taken, and come first.
    """
    values, columns = _largest(similarity, min(k + 1, similarity.shape[1]))
    # topk leaves open which of equal values it takes, and their order; rows where that matters are few.
    rows = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    values, columns = values[:, :k], columns[:, :k]
    if len(rows):
        ordered = similarity[rows].sort(dim=1, descending=True, stable=True)
        values[rows], columns[rows] = ordered.values[:, :k], ordered.indices[:, :k]
    return values, columns


def _largest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what ``topk`` does; of long rows on a CPU it looks only into the ``k`` groups of columns with the largest values.

    Any value outside them is at most the smallest of those ``k``: each group has one that is no smaller than its own.
    """
    n = similarity.shape[1]
    n_groups = n // GROUP
    if similarity.device.type != "cpu" or n_groups < 4 * k:
        return similarity.topk(k, dim=1)
    largest = similarity[:, : n_groups * GROUP].unflatten(1, (GROUP, n_groups)).amax(dim=1)
    chosen = largest.topk(k, dim=1).indices
    columns = (chosen[:, :, None] + torch.arange(GROUP) * n_groups).flatten(1)
    rest = torch.arange(n_groups * GROUP, n).expand(len(columns), -1)
    columns = torch.cat([columns, rest], dim=1)
    values, at = similarity.gather(1, columns).topk(k, dim=1)
    return values, columns.gather(1, at)


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
    device = torch.device(device)
    known = _on(targets, device)
    best, nearest = neighbours(
        train, train_frames, test, test_frames, k=k, device=device, test_block=test_block, train_block=train_block,
        progress=progress,
    )  # fmt: skip
    with one_thread(), torch.inference_mode():
        parts = zip(best.split(test_block), nearest.split(test_block), strict=True)
        return np.concatenate([_said(values, known[index], known, n_classes, temperature) for values, index in parts])


def neighbours(
    train: np.ndarray,
    train_frames: np.ndarray,
    test: np.ndarray,
    test_frames: np.ndarray,
    *,
    k: int,
    device: torch.device | str = "cpu",
    apart: tuple[np.ndarray, np.ndarray] | None = None,
    test_block: int = TEST_BLOCK,
    train_block: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the similarities of the k nearest training examples and which they are, both (M, min(k, N)).

    Args:
        apart: numbers (N,) and (M,) of training and test examples: those of one number are no neighbours. A similarity of
            minus infinity stands where there are fewer than k others.
    """
    n, m = len(train_frames), len(test_frames)
    k = min(k, n)
    most = train_block or max(k, TRAIN_BLOCK_BYTES // (4 * train.shape[1] * train_frames.shape[1]))
    # One shape for all blocks: matrix libraries round differently at the edges of a smaller one.
    train_block = _even(n, min(most, train_block or MAX_TRAIN_BLOCK))
    test_block = _even(m, test_block)
    device = torch.device(device)
    best = torch.full((m, k), -torch.inf, device=device)
    nearest = torch.zeros((m, k), dtype=torch.long, device=device)
    train_rows, test_rows = Rows(train), Rows(test)
    n_blocks = -(-n // train_block)
    groups = None if apart is None else [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in apart]
    starts = range(0, m, test_block)
    with one_thread(), torch.inference_mode():

        def units(first: int) -> Tensor:
            return _units(test_rows, test_frames[first : first + test_block], test_block, device)

        width = 4 * train.shape[1] * train_frames.shape[1]
        is_held = n_blocks > 1 and len(starts) * test_block * width <= TRAIN_BLOCK_BYTES
        held = {first: units(first) for first in starts} if is_held else {}
        # Fresh memory for each product would cost a seventh of the time: the kernel hands it out page by page.
        product = torch.empty(test_block, train_block, device=device)
        for step in range(n_blocks):
            start = step * train_block
            trained = _units(train_rows, train_frames[start : start + train_block], train_block, device)
            for first in starts:
                rows = slice(first, min(first + test_block, m))
                asked = held[first] if is_held else units(first)
                similarity = similarities(asked, trained, product)[: rows.stop - first, : n - start]
                if groups is not None:
                    same = groups[1][rows][:, None] == groups[0][start : start + similarity.shape[1]]
                    similarity.masked_fill_(same, -torch.inf)
                values, columns = top_k(similarity, min(k, similarity.shape[1]))
                # What was found before lies to the left: it wins a tie, as its examples come first.
                values, kept = top_k(torch.cat([best[rows], values], dim=1), k)
                best[rows] = values
                nearest[rows] = torch.cat([nearest[rows], columns + start], dim=1).gather(1, kept)
            if progress is not None:
                progress(step + 1, n_blocks)
    return best, nearest


def _even(n: int, most: int) -> int:
    """Return the size of a block where ``n`` rows are cut into as few blocks of at most ``most`` as even as can be."""
    return max(1, -(-n // -(-n // max(1, min(most, n)))))


def _on(targets: np.ndarray, device: torch.device) -> Tensor:
    known = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    return known.float() if known.is_floating_point() else known.long()


def _said(values: Tensor, targets: Tensor, known: Tensor, n_classes: int, temperature: float) -> np.ndarray:
    """Return what neighbours of these similarities and targets say together."""
    if known.ndim == 2:
        return means(values, targets, known.nanmean(0), temperature=temperature).cpu().numpy()
    return votes(values, targets, n_classes, temperature=temperature).cpu().numpy()


def leave_one_out(
    features: np.ndarray,
    frames: np.ndarray,
    targets: np.ndarray,
    *,
    n_classes: int,
    score: Callable[[np.ndarray, np.ndarray], float],
    temperatures: Sequence[float] = TEMPERATURES,
    groups: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[int, float], float]:
    """Return the score of each k and temperature where every training example is asked of the others.

    Of more than ``MAX_ASKED`` examples a fixed random choice is asked. Members of an example's group (of its video, say) are
    no neighbours of it. Arguments as for :func:`classify` and :class:`virb.contracts.probe.Problem`.
    """
    n = len(frames)
    asked = np.sort(np.random.default_rng(0).permutation(n)[:MAX_ASKED])
    number = np.arange(n) if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    ks = [k for k in KS if k < n] or [1]
    best, nearest = neighbours(
        features, frames, features, frames[asked], k=max(ks), device=device, apart=(number, number[asked]),
        progress=progress,
    )  # fmt: skip
    known, wanted = _on(targets, torch.device(device)), targets[asked]
    is_asked = np.isfinite(best[:, 0].cpu().numpy())  # the only group has no others
    found = {}
    with one_thread(), torch.inference_mode():
        for k in ks:
            for temperature in temperatures:
                parts = zip(best[:, :k].split(TEST_BLOCK), nearest[:, :k].split(TEST_BLOCK), strict=True)
                outputs = [_said(values, known[index], known, n_classes, temperature) for values, index in parts]
                found[k, temperature] = (
                    score(np.concatenate(outputs)[is_asked], wanted[is_asked]) if is_asked.any() else 0.0
                )
    return found


def _units(source: Rows, frames: np.ndarray, size: int, device: torch.device) -> Tensor:
    """Return the examples of ``frames`` (B, F) as unit vectors (size, F * D), with rows of zeros after the last."""
    x = F.normalize(torch.from_numpy(source.take(frames)).float().to(device), dim=2)
    x = x.flatten(1) if frames.shape[1] == 1 else x.flatten(1) / frames.shape[1] ** 0.5
    return x if len(x) == size else F.pad(x, (0, 0, 0, size - len(x)))


def fit(problem: Problem, setups: Sequence[Setup], device: torch.device, report: Report) -> list[Predictor]:
    """Keep the train split, which is all that there is to fit."""
    (setup,) = setups
    targets = problem.targets
    if problem.target == "labels":
        targets = np.where(targets < 0, np.nan, targets).astype(np.float32)
    k, temperature = setup.options.get("k", K), setup.options.get("temperature", TEMPERATURE)
    chosen: dict[str, Any] = {}
    if k == "auto":
        tried = leave_one_out(
            setup.source.features,
            problem.frames,
            targets,
            n_classes=problem.n_out,
            score=lambda outputs, wanted: problem.score(outputs, _as_given(wanted, problem.target)),
            temperatures=TEMPERATURES if "temperature" not in setup.options else (temperature,),
            groups=problem.groups,
            device=device,
            progress=report,
        )
        k, temperature = max(tried, key=lambda pair: (tried[pair], pair == (K, TEMPERATURE)))
        chosen = {
            "chosen_on": "train, each example left out",
            "tried": {f"{a}, {t:g}": v for (a, t), v in tried.items()},
        }

    def outputs(source: Source, frames: np.ndarray, report: Report) -> np.ndarray:
        return classify(
            setup.source.features,
            problem.frames,
            targets,
            source.features,
            frames,
            n_classes=problem.n_out,
            k=k,
            temperature=temperature,
            device=device,
            progress=report,
        )

    protocol = {
        "k": min(k, len(problem.frames)),
        "temperature": temperature,
        "similarity": "cosine" if problem.frames.shape[1] == 1 else "cosine, mean over frames",
        **chosen,
    }
    return [Predictor(protocol, outputs)]


def _as_given(targets: np.ndarray, target: str) -> np.ndarray:
    """Return labels as the metric takes them, where a label that is not known is -1."""
    return np.nan_to_num(targets, nan=-1).astype(np.int64) if target == "labels" else targets


def settings(protocol: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Any]:
    """Return what decides the vote, beside the data."""
    found = {"k": protocol.get("k", K), "temperature": protocol.get("temperature", TEMPERATURE)}
    if found["k"] != "auto":
        return found
    return {
        "k": "auto",
        "ks": KS,
        "temperatures": [protocol["temperature"]] if "temperature" in protocol else TEMPERATURES,
        "max_asked": MAX_ASKED,
    }


PROBE = Probe(
    name="knn",
    summary="a weighted vote of the 20 nearest training examples",
    takes=frozenset({"class", "labels", "number"}),
    fit=fit,
    settings=settings,
    options=frozenset({*FORWARD_OPTIONS, "k", "temperature"}),
    why_not="it trains nothing",
    is_random=False,
    chooses=frozenset({"k"}),
)
