"""Paired tests of two encoders on the same test examples (Chen et al. 2020, Appendix B.8).

The paper exchanges the two predictions of each example at random, 100,000 times. Only the counts of discordant examples
matter, so the distribution is known: exchanging is tossing a coin for each of them. These tests cover the noise of the
test sample alone; another pretraining or probe seed is another matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from virb.errors import ScoresError

# Work (multiplications) up to which a weighted sum of binomials is convolved exactly rather than drawn.
_EXACT_WORK = 200_000_000
_BLOCK = 4_000_000
METRICS = ("top1", "mean_per_class")


@dataclass(frozen=True)
class PermutationTest:
    """A paired test: ``statistic`` is score a minus score b, ``pvalue`` two-sided; ``exact`` unless it was sampled.

    ``null_sd`` is the statistic's standard deviation when the two are exchanged at random.
    """

    statistic: float
    pvalue: float
    exact: bool
    null_sd: float

    def detectable(self, *, alpha: float = 0.05, power: float = 0.8) -> float:
        """Difference that this test finds with probability ``power``, normal approximation: what a large p is worth."""
        from scipy.special import ndtri  # scipy.stats takes half a second to import, and metrics import this

        return float((ndtri(1 - alpha / 2) + ndtri(power)) * self.null_sd)


def paired_permutation_test(
    target: np.ndarray,
    prediction_a: np.ndarray,
    prediction_b: np.ndarray,
    *,
    metric: str = "top1",
    samples: int = 100_000,
    seed: int = 0,
    exact: bool | None = None,
) -> PermutationTest:
    """Test whether two encoders' accuracies differ, by exchanging their predictions example by example.

    For top-1 the exact form is McNemar's: with b examples that only a gets right and c that only b does,
    p = P(\\|2X - m\\| >= \\|b - c\\|), X ~ Bin(m = b + c, 1/2). For the mean over classes the statistic is a weighted
    sum of such binomials, one a class. "More extreme" counts ties, as a p-value must.

    Args:
        target, prediction_a, prediction_b: (N,) labels.
        metric: "top1" or "mean_per_class" (over the classes that occur in ``target``).
        samples: exchanges B where the p is sampled; then p = (r + 1) / (B + 1).
        seed: of the sampling.
        exact: None computes the exact p wherever that is feasible, True insists on it, False samples.

    Raises:
        ScoresError: empty input, lengths that differ, NaN, an unknown metric, or an exact p that is out of reach.

    >>> target = np.zeros(8, int)
    >>> a, b = np.array([0, 0, 0, 0, 0, 0, 0, 1]), np.array([1, 1, 1, 1, 1, 0, 0, 1])
    >>> found = paired_permutation_test(target, a, b)  # a alone is right on 5 images, b alone on none
    >>> found.statistic, found.pvalue, found.exact  # 2 * 0.5**5
    (0.625, 0.0625, True)
    """
    if metric not in METRICS:
        raise ScoresError(f"Unknown metric {metric!r}; a paired test of labels knows {', '.join(METRICS)}.")
    target, prediction_a, prediction_b = (np.asarray(v) for v in (target, prediction_a, prediction_b))
    if target.ndim != 1 or target.shape != prediction_a.shape or target.shape != prediction_b.shape or not len(target):
        raise ScoresError(
            f"A paired test needs three lists of labels of one length; found shapes {target.shape}, "
            f"{prediction_a.shape} and "
            f"{prediction_b.shape}. Both encoders must have been tested on the same examples, in the same order."
        )
    for what, values in (("target", target), ("prediction_a", prediction_a), ("prediction_b", prediction_b)):
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise ScoresError(
                f"{what} holds NaN at position {int(np.flatnonzero(np.isnan(values))[0])}; expected labels."
            )
    if samples < 1:
        raise ScoresError(f"samples={samples}: at least one exchange is needed.")
    difference = (prediction_a == target).astype(np.int64) - (prediction_b == target).astype(np.int64)
    n_discordant, surplus, size = _by_weight(target, difference, metric)
    # In units of 1 / (K lcm(n_k)) every value of the statistic is an integer, so that ties are ties.
    lcm = math.lcm(*size)
    n_classes = len(np.unique(target)) if metric == "mean_per_class" else 1
    unit = [lcm // s for s in size]
    observed = sum(u * s for u, s in zip(unit, surplus, strict=True))
    statistic = observed / (lcm * n_classes)
    spread = math.sqrt(sum(u * u * m for u, m in zip(unit, n_discordant, strict=True))) / (lcm * n_classes)
    if exact is not False:
        pvalue = _exact_p(n_discordant, unit, abs(observed))
        if pvalue is not None:
            return PermutationTest(statistic, pvalue, True, spread)
        if exact:
            raise ScoresError(
                f"The exact p of mean_per_class is out of reach here: the classes have {len(unit)} different sizes. "
                "Use "
                f"exact=None or exact=False, which samples {samples:,} exchanges."
            )
    rng = np.random.default_rng(seed)
    weights = np.array([u / lcm for u in unit])
    drawn = sum(
        w * (2.0 * rng.binomial(m, 0.5, size=samples) - m) for w, m in zip(weights, n_discordant, strict=True) if m
    )
    reached = int(np.sum(np.abs(drawn) >= abs(observed) / lcm - 1e-12)) if any(n_discordant) else samples
    return PermutationTest(statistic, (reached + 1) / (samples + 1), False, spread)


def _by_weight(target: np.ndarray, difference: np.ndarray, metric: str) -> tuple[list[int], list[int], list[int]]:
    """Discordant examples, surplus of a, and class size n_k, pooled over the classes of one size (one weight)."""
    if metric == "top1":
        return [int(np.abs(difference).sum())], [int(difference.sum())], [len(target)]
    _, label, size = np.unique(target, return_inverse=True, return_counts=True)
    n_discordant = np.bincount(label, np.abs(difference)).astype(int)
    surplus = np.bincount(label, difference).astype(int)
    sizes = np.unique(size)
    return (
        [int(n_discordant[size == s].sum()) for s in sizes],
        [int(surplus[size == s].sum()) for s in sizes],
        [int(s) for s in sizes],
    )


def _exact_p(n_discordant: list[int], unit: list[int], observed: int) -> float | None:
    """P(|sum_g unit_g (2 X_g - m_g)| >= observed), X_g ~ Bin(m_g, 1/2); None where it costs too much."""
    groups = [(m, u) for m, u in zip(n_discordant, unit, strict=True) if m]
    if not groups or observed == 0:
        return 1.0
    from scipy import stats as scipy_stats  # takes half a second to import

    if len(groups) == 1:
        (m, u) = groups[0]
        fewer = (m - observed // u) // 2  # min(b, c): observed / u is b - c, of the parity of m
        return float(min(1.0, 2 * scipy_stats.binom.cdf(fewer, m, 0.5)))
    divisor = math.gcd(*(u for _, u in groups))
    groups = sorted((m, u // divisor) for m, u in groups)
    observed //= divisor
    span = sum(m * u for m, u in groups)
    if sum((m + 1) * (span + 1) for m, _ in groups) > _EXACT_WORK:
        return None
    # pmf[i] is the probability that the sum, moved to start at 0 and halved, is i.
    pmf = np.ones(1)
    for m, u in groups:
        coin = scipy_stats.binom.pmf(np.arange(m + 1), m, 0.5)
        wider = np.zeros(len(pmf) + m * u)
        for k, probability in enumerate(coin):
            wider[k * u : k * u + len(pmf)] += probability * pmf
        pmf = wider
    values = np.abs(2 * np.arange(span + 1) - span)
    return float(min(1.0, pmf[values >= observed].sum()))


def sign_flip_test(difference: np.ndarray, *, samples: int = 100_000, seed: int = 0) -> PermutationTest:
    """Paired test of a mean per example, such as the L1 error of an image: exchanging a and b flips a difference's
    sign.

    Exact (all 2^N flips) up to 16 non-zero differences, sampled beyond.

    Args:
        difference: (N,) score a minus score b of each example.

    Raises:
        ScoresError: empty, or not finite.

    >>> sign_flip_test(np.array([0.1, 0.2, 0.3])).pvalue  # 2 of the 8 flips are as far from 0
    0.25
    """
    difference = np.asarray(difference, float)
    if difference.ndim != 1 or not len(difference) or not np.isfinite(difference).all():
        raise ScoresError(f"A sign-flip test needs a list of finite differences; found shape {difference.shape}.")
    moving = difference[difference != 0]
    statistic = float(difference.mean())
    observed = abs(moving.sum())
    slack = 1e-12 * np.abs(moving).sum()
    spread = float(np.sqrt((moving**2).sum()) / len(difference))
    if len(moving) <= 16:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(moving))[:, None] >> np.arange(len(moving))) & 1)
        return PermutationTest(statistic, float(np.mean(np.abs(signs @ moving) >= observed - slack)), True, spread)
    rng = np.random.default_rng(seed)
    reached, step = 0, max(1, _BLOCK // len(moving))
    for start in range(0, samples, step):
        flips = rng.integers(0, 2, size=(min(step, samples - start), len(moving)), dtype=np.int8)
        sums = moving.sum() - 2.0 * (flips.astype(np.float32) @ moving)
        reached += int(np.sum(np.abs(sums) >= observed - slack))
    return PermutationTest(statistic, (reached + 1) / (samples + 1), False, spread)


def miou_test(
    intersection_a: np.ndarray,
    union_a: np.ndarray,
    intersection_b: np.ndarray,
    union_b: np.ndarray,
    *,
    samples: int = 100_000,
    seed: int = 0,
) -> PermutationTest:
    """Paired test of dataset-level mIOU: the per-image (intersection, union) counts of a and b are exchanged.

    Exact (all 2^N exchanges) up to 12 images, sampled beyond. A class absent from all images, under both, counts
    nowhere.

    Args:
        intersection_a, union_a, intersection_b, union_b: (N, C) pixel counts of image and class.

    Raises:
        ScoresError: shapes that differ, or no image.
    """
    counts = [np.asarray(c, float) for c in (intersection_a, union_a, intersection_b, union_b)]
    if len({c.shape for c in counts}) != 1 or counts[0].ndim != 2 or not len(counts[0]):
        raise ScoresError(
            f"mIOU counts must be four (images, classes) arrays of one shape; found {[c.shape for c in counts]}."
        )
    a, b = np.stack(counts[:2], axis=1), np.stack(counts[2:], axis=1)  # (N, 2, C)
    n, _, c = a.shape
    total = (a + b).sum(axis=0).ravel()
    gap = (a - b).reshape(n, 2 * c)

    def difference(sign: np.ndarray) -> np.ndarray:
        moved = sign @ gap
        first, second = (((total + s * moved) / 2).reshape(-1, 2, c) for s in (1, -1))
        # Adding and taking away the same large counts must leave an exact zero where a class is absent.
        iou = [
            np.where(u > 0.5, i / np.where(u > 0.5, u, 1), np.nan)
            for i, u in ((f[:, 0], f[:, 1]) for f in (first, second))
        ]
        return np.asarray(np.nanmean(iou[0], axis=1) - np.nanmean(iou[1], axis=1))

    statistic = float(difference(np.ones((1, n)))[0])
    if n <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        null = difference(signs)
        p = float(np.mean(np.abs(null) >= abs(statistic) - 1e-12))
        return PermutationTest(statistic, p, True, float(np.sqrt(np.mean(null**2))))
    rng = np.random.default_rng(seed)
    reached, squares, step = 0, 0.0, max(1, _BLOCK // max(n, 2 * c))
    for start in range(0, samples, step):
        signs = 1.0 - 2.0 * rng.integers(0, 2, size=(min(step, samples - start), n))
        null = difference(signs)
        reached += int(np.sum(np.abs(null) >= abs(statistic) - 1e-12))
        squares += float(null @ null)
    return PermutationTest(statistic, (reached + 1) / (samples + 1), False, math.sqrt(squares / samples))


def detectable_difference(n: int, discordant: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest accuracy difference that a McNemar test of ``n`` examples finds with probability ``power``.

    Solves delta sqrt(n) = z_(1-alpha/2) sqrt(d) + z_power sqrt(d - delta^2) (Connor 1987), d the share of discordant
    examples; capped at d, the largest difference there can be.

    Raises:
        ScoresError: n < 1 or ``discordant`` outside (0, 1].
    """
    if n < 1 or not 0 < discordant <= 1:
        raise ScoresError(f"n={n} examples and a discordant share of {discordant} describe no test.")
    from scipy.special import ndtri

    z_alpha, z_power = ndtri(1 - alpha / 2), ndtri(power)
    # The square of the equation is a quadratic in delta with one root above the threshold of significance.
    a, b, c = n + z_power**2, -2 * z_alpha * math.sqrt(n * discordant), discordant * (z_alpha**2 - z_power**2)
    delta = (-b + math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
    return float(min(delta, discordant))
