"""Losses of masked patches, and the one that spreads images: pure functions, as those of ``virb.pretraining.losses``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.training.precision import widen


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images (N, 3, rows * patch, columns * patch) into patches (N, rows * columns, 3 * patch²), row by row."""
    return F.unfold(images, patch, stride=patch).transpose(1, 2)


def masked_pixels(predicted: Tensor, patches: Tensor, hidden: Tensor, *, normalize: bool = True) -> Tensor:
    """Mean squared error of the pixels of hidden patches.

    He et al. 2022 (MAE), Section 3: the loss is taken on hidden patches only. Every image has as many of them.

    Args:
        predicted, patches: the pixels of all patches, (N, L, 3 * patch²).
        hidden: which are hidden, (N, L) bool.
        normalize: each patch's pixels are brought to mean 0 and variance 1 first ("per-patch normalization").
    """
    target = widen(patches)
    if normalize:
        variance, mean = torch.var_mean(target, dim=2, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    return (widen(predicted) - target).square().mean(dim=2)[hidden].mean()


def masked_prediction(student: Tensor, codes: Tensor, hidden: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy of hidden patches' predictions with the teacher's codes of the same patches, which it was shown.

    Zhou et al. 2022 (iBOT), Equation 2, and DINOv2, Section 4: the mean over an image's hidden patches, then over all
    images; one without hidden patches counts as 0.

    Args:
        student: outputs for the hidden patches of all images, in order, (M, K).
        codes: the teacher's, as probabilities, (M, K); without gradient.
        hidden: which patches of which image they are, (N, L) bool, M of them.
    """
    terms = -(codes.detach() * F.log_softmax(widen(student) / temperature, dim=1)).sum(dim=1)
    weight = (1 / hidden.sum(dim=1, keepdim=True).clamp_min(1)).expand(hidden.shape)[hidden]
    return (terms * weight).sum() / len(hidden)


def koleo(z: Tensor, eps: float = 1e-8) -> Tensor:
    """Minus the mean log distance of each normalised vector of (N, D), N >= 2, to its nearest in the batch.

    Sablayrolles et al. 2019, Equation 3; DINOv2, Section 4, and its loss/koleo_loss.py.

    Raises:
        ValueError: there are fewer than two vectors.
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"koleo: expected at least two vectors, (N, D); found {tuple(z.shape)}.")
    unit = F.normalize(widen(z), dim=1, eps=eps)
    similarity = (unit @ unit.T).detach()
    nearest = similarity.fill_diagonal_(-1).argmax(dim=1)
    return -torch.log(F.pairwise_distance(unit, unit[nearest], eps=eps) + eps).mean()
