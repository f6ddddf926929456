"""The losses of self-supervised learning, as pure functions.

Projections come in as (N, D), of any float type, not normalised: a loss that works on the sphere normalises them
itself. Every loss is a mean over the batch. Half precision is computed in float32: sums of exponentials need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from virb.training.precision import widen


def _unit(x: Tensor) -> Tensor:
    return F.normalize(widen(x), dim=1)


def _pair(z1: Tensor, z2: Tensor, what: str, least: int = 1) -> None:
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(
            f"{what}: expected two tensors of one shape (N, D); found {tuple(z1.shape)}, {tuple(z2.shape)}."
        )
    if len(z1) < least:
        raise ValueError(f"{what}: a batch of {len(z1)} is too small; at least {least} examples are needed.")


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.1, *, normalize: bool = True) -> Tensor:
    """Normalised temperature-scaled cross-entropy over the 2N views, in both directions.

    Chen et al. 2020 (SimCLR), Equation 1 and Algorithm 1. Each view's positive is the other view of its image, its
    negatives the 2(N-1) views of the other images.

    Args:
        z1, z2: projections of the two views, (N, D).
        temperature: tau > 0.
        normalize: False is the paper's ablation without the l2 norm (Table 5).

    Raises:
        ValueError: shapes differ.

    >>> z = torch.eye(4)  # four images, whose two views are the same and unlike the others
    >>> round(float(nt_xent(z, z, temperature=0.1)), 4)  # log(1 + 6 exp(-10))
    0.0003
    """
    _pair(z1, z2, "nt_xent")
    n = len(z1)
    z = torch.cat([_unit(z1), _unit(z2)]) if normalize else widen(torch.cat([z1, z2]))
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), float("-inf"))
    target = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, target)


def _one_view_similarities(z1: Tensor, z2: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For both directions: the similarity to the positive (N,), and to all of the other view (N, N)."""
    u, v = _unit(z1), _unit(z2)
    similarity = u @ v.T
    positive = similarity.diagonal()
    return [(positive, similarity), (positive, similarity.T)]


def _negatives(similarity: Tensor) -> Tensor:
    """The off-diagonal entries of (N, N) as (N, N-1)."""
    n = len(similarity)
    mask = ~torch.eye(n, dtype=torch.bool, device=similarity.device)
    return similarity[mask].view(n, n - 1)


def _semi_hard(positive: Tensor, negatives: Tensor, margin: float | None) -> tuple[Tensor, Tensor]:
    """The hardest negative that is farther than the positive (by less than ``margin``, if given); and if any is."""
    allowed = negatives < positive[:, None]
    if margin is not None:
        allowed &= negatives > positive[:, None] - margin
    hardest = negatives.masked_fill(~allowed, float("-inf")).max(dim=1)
    return negatives.gather(1, hardest.indices[:, None])[:, 0], allowed.any(dim=1)


def nt_logistic(z1: Tensor, z2: Tensor, temperature: float = 0.5, *, semi_hard: bool = False) -> Tensor:
    """Normalised temperature-scaled logistic loss: -log s(u.v+/tau) - log s(-u.v-/tau), in both directions.

    Chen et al. 2020 (SimCLR), Table 2 and Appendix B.10: negatives come from the other view only. The second term is
    the mean over an anchor's N-1 negatives, or, with ``semi_hard``, its value at the nearest negative that is farther
    than the positive (nothing where there is none).

    Args:
        z1, z2: projections of the two views, (N, D), N >= 2.

    Raises:
        ValueError: shapes differ, or N < 2.
    """
    _pair(z1, z2, "nt_logistic", least=2)
    total = z1.new_zeros((), dtype=widen(z1).dtype)
    for positive, similarity in _one_view_similarities(z1, z2):
        negatives = _negatives(similarity)
        attract = -F.logsigmoid(positive / temperature)
        if semi_hard:
            chosen, found = _semi_hard(positive.detach(), negatives, None)
            repel = torch.where(found, -F.logsigmoid(-chosen / temperature), torch.zeros_like(chosen))
        else:
            repel = -F.logsigmoid(-negatives / temperature).mean(dim=1)
        total = total + (attract + repel).mean() / 2
    return total


def margin_triplet(z1: Tensor, z2: Tensor, margin: float = 0.8, *, semi_hard: bool = False) -> Tensor:
    """Margin triplet loss max(u.v- - u.v+ + m, 0), in both directions.

    Chen et al. 2020 (SimCLR), Table 2 and Appendix B.10: negatives come from the other view only; the mean over an
    anchor's N-1 negatives, or, with ``semi_hard``, the hinge of the nearest negative inside the margin and farther than
    the positive (nothing where there is none).

    Args:
        z1, z2: projections of the two views, (N, D), N >= 2.
        margin: m, in units of cosine similarity (the paper tunes 0, 0.4, 0.8, 1.6).

    Raises:
        ValueError: shapes differ, or N < 2.
    """
    _pair(z1, z2, "margin_triplet", least=2)
    total = z1.new_zeros((), dtype=widen(z1).dtype)
    for positive, similarity in _one_view_similarities(z1, z2):
        negatives = _negatives(similarity)
        if semi_hard:
            chosen, found = _semi_hard(positive.detach(), negatives, margin)
            hinge = torch.where(found, F.relu(chosen - positive + margin), torch.zeros_like(chosen))
        else:
            hinge = F.relu(negatives - positive[:, None] + margin).mean(dim=1)
        total = total + hinge.mean() / 2
    return total


def _to_entries(
    what: str, x: Tensor, own: Tensor, entries: Tensor, rows: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor]:
    """Similarities over tau of ``x`` (N, D) to its ``own`` (N, 1), and to ``entries`` (K, D), all or its ``rows`` (N, n) of them.

    Both ``own`` and ``entries``, which are normalised, get no gradient.
    """
    _pair(x, own, what)
    if entries.ndim != 2 or entries.shape[1] != x.shape[1]:
        raise ValueError(
            f"{what}: expected a queue or negatives of shape (K, {x.shape[1]}); found {tuple(entries.shape)}."
        )
    x, own = _unit(x), _unit(own).detach()
    others = x @ entries.detach().to(x.dtype).T
    others = others if rows is None else others.gather(1, rows)
    return (x * own).sum(dim=1, keepdim=True) / temperature, others / temperature


def info_nce(q: Tensor, k: Tensor, queue: Tensor, temperature: float = 0.07, *, rows: Tensor | None = None) -> Tensor:
    """Contrast each query with its key against a queue of negatives.

    He et al. 2020 (MoCo), Equation 1 and Algorithm 1. The key gets no gradient.

    Args:
        q, k: projections of the queries and their keys, (N, D).
        queue: negatives, (K, D), already normalised.
        rows: which of them are each query's own, (N, n); by default all.

    Raises:
        ValueError: shapes do not fit.

    >>> q, queue = torch.eye(2, 4), torch.eye(4)[2:]
    >>> round(float(info_nce(q, q, queue, temperature=1.0)), 4)  # log(1 + 2 / e)
    0.5514
    """
    logits = torch.cat(_to_entries("info_nce", q, k, queue, rows, temperature), dim=1)
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


def in_batch_info_nce(q: Tensor, k: Tensor, temperature: float = 0.2) -> Tensor:
    """Contrast each query with its key against the other keys of the batch, scaled by 2 tau.

    Chen, Xie and He 2021 (MoCo v3), Algorithm 1 (its factor 2 tau makes the gradient's size independent of tau). The
    keys get no gradient; call it once for each direction.

    Args:
        q, k: predictions of the queries and projections of the keys, (N, D).
    """
    _pair(q, k, "in_batch_info_nce")
    logits = _unit(q) @ _unit(k).detach().T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(q), device=q.device))


@torch.no_grad()
def sinkhorn(
    scores: Tensor, epsilon: float = 0.05, iterations: int = 3, *, reduce: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Assign N examples to K prototypes in equal parts (Sinkhorn-Knopp), without gradient.

    Caron et al. 2020 (SwAV), Equations 3 to 5 and Appendix A. Computed on logarithms, so that no scale of ``scores``
    overflows.

    Args:
        scores: similarities to the prototypes, (N, K).
        epsilon: weight of the entropy; smaller is sharper.
        iterations: how often columns, then rows, are normalised; at least 1.
        reduce: where ``scores`` are one process's rows, adds up the processes' column sums (1, K), given and returned as
            logarithms (``distributed.sinkhorn_reduce``).

    Returns:
        codes (N, K): rows sum to 1, columns (up to convergence) to N/K.

    Raises:
        ValueError: ``scores`` is not (N, K), or ``iterations`` < 1.

    >>> codes = sinkhorn(torch.eye(4, 2), iterations=50)
    >>> codes.sum(dim=1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    >>> [round(column, 3) for column in codes.sum(dim=0).tolist()]  # N / K
    [2.0, 2.0]
    """
    if scores.ndim != 2:
        raise ValueError(f"sinkhorn: expected scores of shape (N, K); found {tuple(scores.shape)}.")
    if iterations < 1:
        raise ValueError(f"sinkhorn: expected at least one iteration; found {iterations}.")
    log_q = widen(scores) / epsilon
    for _ in range(iterations):
        columns = log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - (columns if reduce is None else reduce(columns))
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()


def swapped_prediction(scores: Sequence[Tensor], codes: Sequence[Tensor], temperature: float = 0.1) -> Tensor:
    """Predict the code of each assigning crop from every other crop.

    Caron et al. 2020 (SwAV), Equations 1, 2 and 6: cross-entropy between a crop's code and the softmax of another
    crop's prototype scores, averaged over the other crops, then over the assigning crops.

    Args:
        scores: prototype scores of each of the V >= 2 crops, each (N, K).
        codes: codes of the first A <= V crops (the full-resolution ones), each (N, K), rows summing to 1.

    Raises:
        ValueError: fewer than two crops, or more codes than crops, or none.
    """
    if len(scores) < 2 or not 1 <= len(codes) <= len(scores):
        raise ValueError(
            f"swapped_prediction: expected at least two crops' scores and one to that many codes; "
            f"found {len(scores)} and {len(codes)}."
        )
    log_p = [F.log_softmax(widen(s) / temperature, dim=1) for s in scores]
    total = log_p[0].new_zeros(())
    for a, code in enumerate(codes):
        terms = [-(code.detach() * lp).sum(dim=1).mean() for v, lp in enumerate(log_p) if v != a]
        total = total + torch.stack(terms).mean()
    return total / len(codes)


def barlow_twins(z1: Tensor, z2: Tensor, lambd: float = 0.005) -> Tensor:
    """Drive the cross-correlation of two views to the identity.

    Zbontar et al. 2021 (Barlow Twins), Equations 1 and 2. Each dimension is standardised over the batch with the
    population variance.

    Args:
        z1, z2: projections of the two views, (N, D), N >= 2.
        lambd: weight of the off-diagonal terms.

    >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # uncorrelated over the batch
    >>> float(barlow_twins(z, z))
    0.0
    """
    _pair(z1, z2, "barlow_twins", least=2)

    def standardise(z: Tensor) -> Tensor:
        z = widen(z)
        z = z - z.mean(dim=0)
        return z / z.square().mean(dim=0).clamp_min(1e-12).sqrt()

    c = standardise(z1).T @ standardise(z2) / len(z1)
    diagonal = c.diagonal()
    on = (diagonal - 1).square().sum()
    off = c.square().sum() - diagonal.square().sum()
    return on + lambd * off


def vicreg(z1: Tensor, z2: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    """Variance-invariance-covariance regularisation.

    Bardes, Ponce and LeCun 2022 (VICReg), Equations 1 to 6, with the reductions of the authors' code, to which the
    published weights 25, 25, 1 belong: the invariance term is a mean over examples *and* dimensions, and the variance
    term the mean (not the sum) of the two views' terms; the covariance term is the sum of the two.

    Args:
        z1, z2: projections of the two views, (N, D), N >= 2.

    >>> z = torch.zeros(4, 2)  # collapsed: the views agree, and no dimension varies
    >>> round(float(vicreg(z, z)), 2)  # 25 times what each standard deviation lacks of 1, but for the root's 1e-4
    24.75
    """
    _pair(z1, z2, "vicreg", least=2)
    z1, z2 = widen(z1), widen(z2)
    n, d = z1.shape
    total = invariance * F.mse_loss(z1, z2)
    for z in (z1, z2):
        centred = z - z.mean(dim=0)
        cov = centred.T @ centred / (n - 1)
        std = (cov.diagonal() + 1e-4).sqrt()
        off = cov.square().sum() - cov.diagonal().square().sum()
        total = total + variance * F.relu(1 - std).mean() / 2 + covariance * off / d
    return total


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Minus the mean cosine between predictions ``p`` and targets ``z``, both (N, D); the targets get no gradient.

    Chen and He 2021 (SimSiam), Equation 1; Grill et al. 2020 (BYOL), Equation 2, is 2 + 2 times it. Symmetrise by
    calling it twice.

    >>> p = torch.tensor([[2.0, 0.0]])
    >>> float(negative_cosine(p, torch.tensor([[3.0, 0.0]])))
    -1.0
    """
    _pair(p, z, "negative_cosine")
    return -(_unit(p) * _unit(z).detach()).sum(dim=1).mean()


def dino(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    center: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Cross-entropy of the student's crops with the centred, sharpened teacher's, over all pairs of different crops.

    Caron et al. 2021 (DINO), Equations 1 to 3 and Algorithm 1. The teacher gets no gradient.

    Args:
        student: outputs of all V crops, each (N, K); the first ones are the teacher's crops, in the same order.
        teacher: outputs of the first A <= V crops (the global ones), each (N, K).
        center: running mean of the teacher's outputs, (K,).

    Raises:
        ValueError: there is no pair of different crops.
    """
    if not teacher or len(student) < max(2, len(teacher)):
        raise ValueError(
            f"dino: expected at least two student crops, the teacher's among them; found {len(student)} of the student "
            f"and {len(teacher)} of the teacher."
        )
    log_p = [F.log_softmax(widen(s) / student_temperature, dim=1) for s in student]
    terms = []
    for a, output in enumerate(teacher):
        target = F.softmax((widen(output) - center) / teacher_temperature, dim=1).detach()
        terms += [-(target * lp).sum(dim=1).mean() for v, lp in enumerate(log_p) if v != a]
    return torch.stack(terms).mean()


def pirl_nce(
    x: Tensor, memory: Tensor, negatives: Tensor, temperature: float = 0.07, *, rows: Tensor | None = None
) -> Tensor:
    """Noise-contrastive estimation of an image's representation against a memory bank.

    Misra and van der Maaten 2020 (PIRL), Equations 4 and 5: -log h(m, x) - sum over I' of log[1 - h(m_I', x)], with
    h(a, b) = exp(s(a, b)/tau) / (exp(s(a, b)/tau) + sum over I' of exp(s(b, m_I')/tau)) and s the cosine similarity.
    The full objective (Equation 6) is lambda times this of the transformed image plus (1 - lambda) times this of the
    image itself.

    Args:
        x: representations, (N, D).
        memory: each image's own entry of the memory bank, (N, D); it gets no gradient.
        negatives: entries of other images, (K, D), already normalised, without gradient.
        rows: which of them are each image's own, (N, n); by default the batch shares all.

    Raises:
        ValueError: shapes do not fit.
    """
    positives, negative = _to_entries("pirl_nce", x, memory, negatives, rows, temperature)
    positive = positives[:, 0]
    log_sum = negative.logsumexp(dim=1)
    attract = -F.logsigmoid(positive - log_sum)  # log h = log sigmoid(s+ - log sum exp s-)
    repel = -F.logsigmoid(log_sum[:, None] - negative).sum(dim=1)  # log(1 - h) = log sigmoid(log sum exp s- - s')
    return (attract + repel).mean()
