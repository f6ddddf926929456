"""What is watched while a method trains: collapse of its output, and a nearest-neighbour accuracy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.probes import knn
from virb.training import distributed


@torch.no_grad()
def output_spread(output: Tensor) -> Tensor:
    """Return sqrt(D) times the mean standard deviation, over the whole batch, of the normalised output (N, D).

    Chen and He 2021 (SimSiam), Section 4.1: near 1 when outputs fill the sphere, 0 when all are the same.
    """
    unit = F.normalize(output.detach().float(), dim=1)
    if distributed.world_size() == 1:
        std = unit.std(dim=0, unbiased=False)
    else:
        centre = distributed.mean(unit.mean(dim=0))
        std = distributed.mean((unit - centre).square().mean(dim=0)).sqrt()
    return std.mean() * unit.shape[1] ** 0.5


@torch.no_grad()
def knn_accuracy(features: Tensor, labels: Tensor, *, k: int = knn.K, temperature: float = knn.TEMPERATURE) -> float:
    """Return the leave-one-out accuracy of a weighted k-nearest-neighbour vote by cosine similarity.

    Wu et al. 2018 (Instance Discrimination), Section 3.4, as :mod:`virb.probes.knn`.

    Args:
        features: (N, D), N >= 2.
        labels: classes, (N,).
    """
    unit = F.normalize(features.float(), dim=1)
    n_classes = int(labels.max()) + 1
    right = 0
    for start in range(0, len(unit), 1024):
        similarity = unit[start : start + 1024] @ unit.T
        rows = torch.arange(len(similarity), device=unit.device)
        similarity[rows, start + rows] = -2.0
        values, columns = knn.top_k(similarity, min(k, len(unit) - 1))
        shares = knn.votes(values, labels[columns], n_classes, temperature=temperature)
        right += int((shares.argmax(dim=1) == labels[start : start + 1024]).sum())
    return right / len(unit)
