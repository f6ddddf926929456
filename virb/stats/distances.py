"""Distances between image sets as an encoder sees them, and whether they tell how well pretraining transfers.

Hammoud et al. 2024, Table 3: FID and VisualDNA between pretraining and downstream data.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from virb.errors import ScoresError

_STRIP = 4_000_000  # numbers that are in float64 at one time


class Moments:
    """Mean and covariance of features that stream by, in float64; memory D^2 whatever the number of images."""

    def __init__(self, dim: int) -> None:
        self.n = 0
        self._sum = np.zeros(dim)
        self._outer = np.zeros((dim, dim))
        self._shift: np.ndarray | None = None

    def add(self, features: np.ndarray) -> None:
        """Add a batch of features (b, D). Raises ScoresError if they are not (b, D) or not finite."""
        features = _features(features)
        if features.shape[1] != len(self._sum):
            raise ScoresError(f"Expected features of {len(self._sum)} dimensions; found {features.shape[1]}.")
        if self._shift is None:
            # Sums about a point near the mean: sums about 0 lose the covariance of features with a large offset.
            self._shift = features.mean(axis=0)
        moved = features - self._shift
        self.n += len(features)
        self._sum += moved.sum(axis=0)
        self._outer += moved.T @ moved

    @property
    def mean(self) -> np.ndarray:
        """(D,) mean."""
        if self._shift is None:
            raise ScoresError("No features were added.")
        return np.asarray(self._shift + self._sum / self.n)

    @property
    def covariance(self) -> np.ndarray:
        """(D, D) covariance with n - 1 below."""
        if self.n < 2:
            raise ScoresError(f"A covariance needs at least 2 images; found {self.n}.")
        return np.asarray((self._outer - np.outer(self._sum, self._sum) / self.n) / (self.n - 1))


def frechet_distance(x: np.ndarray | Moments, y: np.ndarray | Moments) -> float:
    """Fréchet distance of two Gaussians fitted to features: ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` (Heusel et al.
    2017).

    The estimate is biased upwards when images are few: 31 % of the trace for 2,040 images of 2,048 dimensions against
    the same distribution. A warning says when a set has fewer images than dimensions.

    Args:
        x, y: features (N, D), or :class:`Moments` collected in a pass.

    Raises:
        ScoresError: dimensions that differ, fewer than 2 images, or values that are not finite.

    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> round(frechet_distance(x, x + [3.0, 4.0]), 6)  # equal covariances: the squared distance of the means
    25.0
    """
    dims = [len(z.mean) if isinstance(z, Moments) else _features(z).shape[1] for z in (x, y)]
    counts = [z.n if isinstance(z, Moments) else len(z) for z in (x, y)]
    if dims[0] != dims[1]:
        raise ScoresError(
            f"Both sets must be seen by one encoder; found features of {dims[0]} and {dims[1]} dimensions."
        )
    if min(counts) < 2:
        raise ScoresError(f"A Fréchet distance needs at least 2 images in each set; found {counts[0]} and {counts[1]}.")
    if min(counts) < dims[0]:
        warnings.warn(
            f"Fréchet distance from {min(counts)} images of {dims[0]} dimensions: far too large; compare sets of "
            "equal size only.",
            stacklevel=2,
        )
    if not isinstance(x, Moments) and not isinstance(y, Moments) and counts[0] * counts[1] < dims[0] ** 2:
        # With S = A A', tr (S1 S2)^(1/2) is the sum of the singular values of A1' A2: small when images are few.
        first, second = _features(x), _features(y)
        offset = first.mean(axis=0) - second.mean(axis=0)
        a = (first - first.mean(axis=0)) / np.sqrt(len(first) - 1)
        b = (second - second.mean(axis=0)) / np.sqrt(len(second) - 1)
        root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
        return float(max(offset @ offset + (a * a).sum() + (b * b).sum() - 2 * root, 0.0))
    one, two = (z if isinstance(z, Moments) else _moments(z) for z in (x, y))
    offset = one.mean - two.mean
    s1, s2 = one.covariance, two.covariance
    half = _half(s1)
    inner = half.T @ s2 @ half  # with the eigenvalues of S1 S2
    root = np.sqrt(np.clip(np.linalg.eigvalsh((inner + inner.T) / 2), 0, None)).sum()
    return float(max(offset @ offset + np.trace(s1) + np.trace(s2) - 2 * root, 0.0))


def _half(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix A (D, D) with A A' = ``covariance``: Cholesky's factor; the symmetric root where it is singular."""
    try:
        return np.asarray(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def _features(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size:
        raise ScoresError(f"Features must have the shape (N, D); found {values.shape}.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ScoresError(f"The features of image {row} are not finite.")
    return values


def _moments(values: np.ndarray) -> Moments:
    out = Moments(np.shape(values)[1])
    out.add(values)
    return out


class ActivationHistograms:
    """A histogram of each neuron's activations over an image set (VisualDNA, Ramtoula et al. 2023).

    Memory is 4 D bins bytes (60 MB for the 15,104 neurons of a ResNet-50's blocks), whatever the number of images.

    Args:
        low, high: (D,) range of each neuron, fixed beforehand and shared by the sets that are compared; activations
            outside are clamped into the end bins.
        bins: as many equal bins as VisualDNA uses.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, *, bins: int = 1000) -> None:
        self.low, self.high = np.asarray(low, float), np.asarray(high, float)
        if self.low.shape != self.high.shape or self.low.ndim != 1 or not (self.high >= self.low).all():
            raise ScoresError("The range of every neuron needs low <= high, both of shape (D,).")
        self.bins = bins
        self.n = 0
        self.counts = np.zeros((len(self.low), bins), np.uint32)

    def add(self, activations: np.ndarray) -> None:
        """Add a batch (b, D); in a network's layers each position of an image is a row.

        Raises:
            ScoresError: other than D neurons, values that are not finite, or more rows than counters hold (4e9).
        """
        activations = np.asarray(activations)
        if activations.ndim != 2 or activations.shape[1] != len(self.low):
            raise ScoresError(f"Expected rows of {len(self.low)} neurons; found the shape {activations.shape}.")
        if self.n + len(activations) > np.iinfo(self.counts.dtype).max:
            raise ScoresError(f"More than {np.iinfo(self.counts.dtype).max} rows cannot be counted; use fewer images.")
        width = np.where(self.high > self.low, self.high - self.low, 1.0)
        first = np.arange(len(self.low)) * self.bins
        step = max(1, _STRIP // max(1, len(self.low)))
        for start in range(0, len(activations), step):  # a wide map of many positions is never copied whole
            strip = _features(activations[start : start + step])
            place = np.clip((strip - self.low) / width * self.bins, 0, self.bins - 1).astype(np.int64)
            counted = np.bincount((place + first).ravel(), minlength=self.counts.size)
            self.counts += counted.reshape(self.counts.shape).astype(np.uint32)
        self.n += len(activations)


def visual_dna_distance(x: ActivationHistograms, y: ActivationHistograms) -> float:
    """Mean over neurons of the earth mover's distance between activation histograms, in bins: mean of sum |CDF1 -
    CDF2|.

    Raises:
        ScoresError: the histograms have other ranges or bins, or one is empty.
    """
    return float(neuron_distances(x, y).mean())


def neuron_distances(x: ActivationHistograms, y: ActivationHistograms) -> np.ndarray:
    """(D,) earth mover's distance of each neuron, in bins.

    Raises:
        ScoresError: as :func:`visual_dna_distance`.
    """
    if x.counts.shape != y.counts.shape or not (np.array_equal(x.low, y.low) and np.array_equal(x.high, y.high)):
        raise ScoresError("Histograms can be compared only with the same neurons, ranges and bins.")
    if not (x.n and y.n):
        raise ScoresError("A histogram is empty; add activations to both.")
    gaps: np.ndarray = np.abs(np.cumsum(x.counts / x.n - y.counts / y.n, axis=1)).sum(axis=1)
    return gaps


@dataclass(frozen=True)
class TransferAffinity:
    """Fit of score ~ target + slope x distance; ``pvalue`` is two-sided by permuting distances within each target."""

    slope: float
    pvalue: float
    within_r: float
    n: int
    exact: bool


def transfer_affinity(
    score: np.ndarray, distance: np.ndarray, target: np.ndarray, *, samples: int = 10_000, seed: int = 0
) -> TransferAffinity:
    """Does pretraining data nearer to a target transfer better to it, once every target has its own level?

    Scores and distances are centred within target, which is the regression with a target effect; distances are then
    permuted within target only, since targets differ in difficulty and not by affinity. Right only where pretraining sets
    have no level of their own: else unrelated distances are found related in half of studies, and
    :func:`virb.stats.dyads.affinity` is the one to use.

    Args:
        score, distance, target: (n,) one entry for each pair of pretraining set and target.

    Raises:
        ScoresError: lengths differ, values are not finite, or no target has two different distances.
    """
    score, distance = np.asarray(score, float), np.asarray(distance, float)
    target = np.asarray(target)
    if not (score.shape == distance.shape == target.shape) or score.ndim != 1:
        raise ScoresError(
            f"score, distance and target must be lists of one length; found {score.shape}, {distance.shape}, "
            f"{target.shape}."
        )
    if not (np.isfinite(score).all() and np.isfinite(distance).all()):
        raise ScoresError("A score or distance is missing or not finite.")
    _, group = np.unique(target, return_inverse=True)
    size = np.bincount(group)

    def centred(values: np.ndarray) -> np.ndarray:
        return np.asarray(values - (np.bincount(group, values) / size)[group])

    y, d = centred(score), centred(distance)
    if not np.any(np.abs(d) > 1e-12 * max(np.abs(distance).max(), 1e-300)):
        raise ScoresError("No target has two pretraining sets at different distances, so no slope exists.")
    slope = float(y @ d / (d @ d))
    norm = np.sqrt((y @ y) * (d @ d))
    within_r = float(y @ d / norm) if norm > 0 else 0.0
    members = [np.flatnonzero(group == g) for g in range(len(size))]
    orders = 1
    for m in members:
        for k in range(2, len(m) + 1):
            orders *= k
        if orders > samples:
            break
    if orders <= samples:
        # Distances enter the statistic as a sum over targets: convolve the targets' lists of possible sums.
        import itertools

        sums = np.zeros(1)
        for m in members:
            own = np.array([y[m] @ d[list(order)] for order in itertools.permutations(m)])
            sums = (sums[:, None] + own[None, :]).ravel()
        p = float(np.mean(np.abs(sums) >= abs(y @ d) - 1e-12 * norm))
        return TransferAffinity(slope, p, within_r, len(y), True)
    rng = np.random.default_rng(seed)
    total = np.zeros(samples)
    for m in members:
        shuffled = rng.permuted(np.broadcast_to(d[m], (samples, len(m))).copy(), axis=1)
        total += shuffled @ y[m]
    reached = int(np.sum(np.abs(total) >= abs(y @ d) - 1e-12 * norm))
    return TransferAffinity(slope, (reached + 1) / (samples + 1), within_r, len(y), False)
