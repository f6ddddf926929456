"""Every loss against its paper's equation, written out in NumPy loops, and by its invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, logsumexp

from virb.pretraining import losses


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(x: torch.Tensor) -> np.ndarray:
    return (x / x.norm(dim=1, keepdim=True)).numpy()


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    return draw(7, 5), draw(7, 5, seed=1)


def close(value: torch.Tensor, expected: float) -> None:
    assert float(value) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_nt_xent_is_equation_1(pair):
    z = np.concatenate([unit(pair[0]), unit(pair[1])])
    n, tau, total = 7, 0.3, 0.0
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        total -= z[i] @ z[j] / tau - math.log(sum(math.exp(z[i] @ z[k] / tau) for k in range(2 * n) if k != i))
    close(losses.nt_xent(*pair, 0.3), total / (2 * n))


def test_nt_xent_is_cross_entropy_with_a_masked_diagonal(pair):
    z = F.normalize(torch.cat(pair), dim=1)
    logits = z @ z.T / 0.1
    logits.fill_diagonal_(float("-inf"))
    close(losses.nt_xent(*pair), float(F.cross_entropy(logits, torch.arange(14).roll(7))))


def test_nt_xent_by_hand():
    z = torch.eye(2, dtype=torch.float64)
    # Positives have similarity 1, the two negatives of each view 0.
    close(losses.nt_xent(z, z, 1.0), math.log(math.e + 2) - 1)


def test_nt_xent_without_the_norm_uses_dot_products(pair):
    z = torch.cat(pair).numpy()
    total = -sum(z[i] @ z[(i + 7) % 14] - logsumexp([z[i] @ z[k] for k in range(14) if k != i]) for i in range(14))
    close(losses.nt_xent(*pair, 1.0, normalize=False), total / 14)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(1, 6), st.floats(0.05, 2), st.integers(0, 99))
def test_contrastive_losses_do_not_depend_on_order_scale_or_side(n, d, tau, seed):
    z1, z2 = draw(n, d, seed=seed), draw(n, d, seed=seed + 1)
    order = torch.randperm(n)
    for loss in (losses.nt_xent, losses.nt_logistic, losses.margin_triplet):
        value = loss(z1, z2, tau)
        assert value >= 0
        for other in (loss(z2, z1, tau), loss(z1[order], z2[order], tau), loss(3 * z1, 0.2 * z2, tau)):
            torch.testing.assert_close(value, other)


def _reference_pairwise(z1, z2, attract, repel, choose):
    u, v = unit(z1), unit(z2)
    n, total = len(u), 0.0
    for a, b in ((u, v), (v, u)):
        for i in range(n):
            positive = a[i] @ b[i]
            negatives = [a[i] @ b[j] for j in range(n) if j != i]
            total += (attract(positive) + choose(positive, negatives, repel)) / (2 * n)
    return total


def _mean(positive, negatives, repel):
    return np.mean([repel(positive, s) for s in negatives])


def test_nt_logistic_is_table_2(pair):
    tau = 0.4
    attract, repel = lambda s: -math.log(expit(s / tau)), lambda p, s: -math.log(expit(-s / tau))

    def semi_hard(positive, negatives, repel):
        allowed = [s for s in negatives if s < positive]
        return repel(positive, max(allowed)) if allowed else 0.0

    close(losses.nt_logistic(*pair, tau), _reference_pairwise(*pair, attract, repel, _mean))
    close(losses.nt_logistic(*pair, tau, semi_hard=True), _reference_pairwise(*pair, attract, repel, semi_hard))


def test_margin_triplet_is_table_2(pair):
    m = 0.8

    def repel(positive, s):
        return max(s - positive + m, 0)

    def semi_hard(positive, negatives, repel):
        allowed = [s for s in negatives if positive - m < s < positive]
        return repel(positive, max(allowed)) if allowed else 0.0

    close(losses.margin_triplet(*pair, m), _reference_pairwise(*pair, lambda s: 0.0, repel, _mean))
    close(losses.margin_triplet(*pair, m, semi_hard=True), _reference_pairwise(*pair, lambda s: 0.0, repel, semi_hard))


def test_info_nce_is_equation_1_of_moco(pair):
    q, k, queue = unit(pair[0]), unit(pair[1]), unit(draw(11, 5, seed=2))
    total = 0.0
    for a, b in zip(q, k, strict=True):
        total -= a @ b / 0.07 - logsumexp([a @ b / 0.07, *(queue @ a / 0.07)])
    close(losses.info_nce(*pair, torch.from_numpy(queue)), total / 7)


def test_in_batch_info_nce_is_algorithm_1_of_moco_v3(pair):
    logits = unit(pair[0]) @ unit(pair[1]).T / 0.2
    close(losses.in_batch_info_nce(*pair, 0.2), -2 * 0.2 * np.mean(np.diag(log_softmax(logits, axis=1))))


def test_keys_and_targets_get_no_gradient(pair):
    queue = torch.from_numpy(unit(draw(6, 5, seed=3)))
    for loss in (
        lambda a, b: losses.info_nce(a, b, queue),
        losses.in_batch_info_nce,
        losses.negative_cosine,
        lambda a, b: losses.pirl_nce(a, b, queue),
        lambda a, b: losses.dino([a, a + 1], [b], torch.zeros(5)),
    ):
        a, b = (z.clone().requires_grad_() for z in pair)
        loss(a, b).backward()
        assert a.grad.abs().sum() > 0
        assert b.grad is None


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(2, 12), st.floats(0.02, 1), st.integers(0, 99))
def test_sinkhorn_marginals(n, k, epsilon, seed):
    scores = F.normalize(draw(n, 6, seed=seed), dim=1) @ F.normalize(draw(k, 6, seed=seed + 1), dim=1).T
    codes = losses.sinkhorn(scores, epsilon, 3)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(n, dtype=torch.float64))
    assert (codes >= 0).all()
    converged = losses.sinkhorn(scores, 0.5, 500)
    torch.testing.assert_close(converged.sum(dim=0), torch.full((k,), n / k, dtype=torch.float64), rtol=1e-4, atol=0)


def test_sinkhorn_is_the_published_loop():
    scores = draw(9, 4, scale=0.3)
    q = np.exp(scores.numpy().T / 0.05)
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(axis=1, keepdims=True)
        q /= 4
        q /= q.sum(axis=0, keepdims=True)
        q /= 9
    np.testing.assert_allclose(losses.sinkhorn(scores).numpy(), (q * 9).T, rtol=1e-9)


def test_sinkhorn_does_not_overflow():
    assert torch.isfinite(losses.sinkhorn(torch.tensor([[900.0, -900.0], [1e4, 0.0]]), 0.05, 3)).all()


def test_swapped_prediction_is_equation_2():
    scores = [draw(5, 4, seed=s) for s in range(4)]
    codes = [losses.sinkhorn(s) for s in scores[:2]]
    total = 0.0
    for a in range(2):
        for v in range(4):
            if v != a:
                cross = -(codes[a].numpy() * log_softmax(scores[v].numpy() / 0.1, axis=1)).sum(axis=1).mean()
                total += cross / 3 / 2
    close(losses.swapped_prediction(scores, codes), total)


def test_barlow_twins_is_equations_1_and_2(pair):
    a, b = ((z.numpy() - z.numpy().mean(0)) / z.numpy().std(0) for z in pair)
    total = 0.0
    for i in range(5):
        for j in range(5):
            c = (a[:, i] * b[:, j]).mean()
            total += (1 - c) ** 2 if i == j else 0.005 * c**2
    close(losses.barlow_twins(*pair), total)


def test_barlow_twins_ignores_scale_and_shift(pair):
    torch.testing.assert_close(losses.barlow_twins(*pair), losses.barlow_twins(pair[0] * 3 + 1, pair[1] * 0.1 - 2))


def test_vicreg_is_the_authors_code(pair):
    a, b = (z.numpy() for z in pair)
    total = 25 * ((a - b) ** 2).mean()
    for z in (a, b):
        total += 25 / 2 * np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean()
        cov = np.cov(z.T)
        total += ((cov**2).sum() - (np.diag(cov) ** 2).sum()) / 5
    close(losses.vicreg(*pair), total)


def test_negative_cosine(pair):
    close(losses.negative_cosine(*pair), -np.mean((unit(pair[0]) * unit(pair[1])).sum(axis=1)))
    close(losses.negative_cosine(pair[0], 4 * pair[0]), -1.0)


def test_dino_is_algorithm_1():
    student, teacher = [draw(6, 4, seed=s) for s in range(3)], [draw(6, 4, seed=s) for s in (7, 8)]
    center = draw(4, seed=9)
    total = []
    for t in range(2):
        p = np.exp(log_softmax((teacher[t] - center).numpy() / 0.04, axis=1))
        total += [-(p * log_softmax(student[s].numpy() / 0.1, axis=1)).sum(axis=1).mean() for s in range(3) if s != t]
    close(losses.dino(student, teacher, center), np.mean(total))


def test_pirl_nce_is_equations_4_and_5(pair):
    x, m, negatives = unit(pair[0]), unit(pair[1]), unit(draw(6, 5, seed=4))
    total = 0.0
    for v, own in zip(x, m, strict=True):
        rest = np.exp(negatives @ v / 0.07).sum()

        def h(entry, v=v, rest=rest):
            e = math.exp(entry @ v / 0.07)
            return e / (e + rest)

        total -= math.log(h(own)) + sum(math.log(1 - h(other)) for other in negatives)
    close(losses.pirl_nce(*pair, torch.from_numpy(negatives)), total / 7)


@pytest.mark.parametrize("loss", [losses.pirl_nce, losses.info_nce])
def test_negatives_of_each_image_are_those_of_its_own_batch(pair, loss):
    entries = torch.from_numpy(unit(draw(9, 5, seed=4)))
    rows = torch.randint(9, (7, 6), generator=torch.Generator().manual_seed(0))
    alone = [loss(pair[0][k : k + 1], pair[1][k : k + 1], entries[rows[k]], 0.2) for k in range(7)]
    close(loss(*pair, entries, 0.2, rows=rows), float(torch.stack(alone).mean()))


def test_half_precision_is_computed_in_float32(pair):
    a, b = (z.to(torch.bfloat16) for z in pair)
    for loss in (losses.nt_xent, losses.barlow_twins, losses.vicreg, losses.negative_cosine):
        assert loss(a, b).dtype == torch.float32
        torch.testing.assert_close(loss(a, b), loss(a.float(), b.float()))


def test_shapes_are_checked(pair):
    with pytest.raises(ValueError, match="one shape"):
        losses.nt_xent(pair[0], pair[1][:3])
    with pytest.raises(ValueError, match="at least 2"):
        losses.barlow_twins(pair[0][:1], pair[1][:1])
    with pytest.raises(ValueError, match="queue"):
        losses.info_nce(*pair, draw(3, 4))
    with pytest.raises(ValueError, match="iteration"):
        losses.sinkhorn(pair[0], 0.05, 0)
    with pytest.raises(ValueError, match="two crops"):
        losses.swapped_prediction([pair[0]], [pair[0]])
    with pytest.raises(ValueError, match="student"):
        losses.dino([pair[0]], [pair[1]], torch.zeros(5))
