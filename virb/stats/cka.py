"""Linear centred kernel alignment (CKA): do two representations arrange the same images alike?

Kornblith et al. 2019; used by Kotar et al. 2021, Section 5 and Appendix E. The plain estimate is biased upwards: two
independent Gaussian representations of dimension p have CKA near p / (p + n), .95 for a first convolution at n =
10,000. Everything here is debiased by default (HSIC_1 of Song et al. 2012), which stays near 0 for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats as scipy_stats

from virb.errors import ScoresError

_STRIP = 4096  # columns of a wide activation that are in float64 at one time
FEWEST_BLOCKS = 5  # from which resampling them says anything


def linear_cka(x: np.ndarray, y: np.ndarray, *, debiased: bool = True) -> float:
    """Linear CKA of two representations of the same images.

    Computed from features or from Gram matrices, whichever is smaller; both give the same number.

    Args:
        x, y: (N, ...) activations, flattened to (N, D); the dimensions may differ.
        debiased: use HSIC_1 (unbiased numerator and denominators; may be slightly below 0); else the plain estimate in
            [0, 1].

    Raises:
        ScoresError: different N, fewer than 4 (plain: 2) images, values that are not finite, or a representation that
            is the same for every image.

    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> round(linear_cka(x, 3 * x[:, ::-1] + 1), 6)  # blind to scale, shift and rotation
    1.0
    """
    x, y = _flat(x), _flat(y)
    if len(x) != len(y):
        raise ScoresError(f"CKA compares representations of the same images; found {len(x)} and {len(y)} of them.")
    if len(x) < (4 if debiased else 2):
        raise ScoresError(
            f"{'Debiased' if debiased else 'Plain'} CKA needs at least {4 if debiased else 2} images; found {len(x)}."
        )
    for what, values in (("first", x), ("second", y)):
        values -= values.mean(axis=0)
        largest = max(values.max(), -values.min())
        if not largest > 0:
            raise ScoresError(f"The {what} representation is the same for every image, so CKA with it does not exist.")
        # Only ratios matter; the scaling keeps fourth powers of very small or large activations representable.
        values /= largest
    if len(x) <= max(x.shape[1], y.shape[1]):  # Gram matrices are the smaller ones, each formed once
        k, m = x @ x.T, y @ y.T
        plain = [float(np.vdot(a, b)) for a, b in ((k, m), (k, k), (m, m))]
    else:
        plain = [float(np.vdot(product, product)) for product in (x.T @ y, x.T @ x, y.T @ y)]
    if not debiased:
        return _ratio(*plain)
    r, s = (np.einsum("ij,ij->i", values, values) for values in (x, y))
    return _ratio(*(_unbiased(inner, a, b) for inner, (a, b) in zip(plain, ((r, s), (r, r), (s, s)), strict=True)))


def _flat(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim < 2 or not values.size:
        raise ScoresError(f"Activations must have the shape (N, D) or (N, ...); found {values.shape}.")
    values = values.reshape(len(values), -1).astype(float)  # a copy: it is centred in place
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ScoresError(f"Activations are not finite for image {row}; the encoder or its input is broken.")
    return values


def _unbiased(plain: float, r: np.ndarray, s: np.ndarray) -> float:
    """Return HSIC_1 (Song et al. 2012, eq. 5) of centred representations from their plain inner product and the squared
    lengths of their rows: a centred Gram matrix without its diagonal has the row sums -r.
    """
    n = len(r)
    return float((plain - n / (n - 2) * (r @ s) + r.sum() * s.sum() / ((n - 1) * (n - 2))) / (n * (n - 3)))


def _ratio(cross: float, self_x: float, self_y: float) -> float:
    if not (self_x > 0 and self_y > 0):
        raise ScoresError(
            "A representation has no similarity structure that can be told from noise (its debiased HSIC is not "
            "positive). "
            "Use more images."
        )
    return float(cross / np.sqrt(self_x * self_y))


def _hsic1(k: np.ndarray, m: np.ndarray) -> np.ndarray:
    """HSIC_1 (Song et al. 2012, eq. 5) of Gram matrices, every one of (A, b, b) with every one of (B, b, b): (A, B)."""
    b = k.shape[-1]
    off = 1.0 - np.eye(b)
    k, m = k * off, m * off
    trace = k.reshape(len(k), -1) @ m.reshape(len(m), -1).T
    row_k, row_m = k.sum(axis=2), m.sum(axis=2)
    sums = np.outer(row_k.sum(axis=1), row_m.sum(axis=1)) / ((b - 1) * (b - 2))
    return np.asarray((trace + sums - 2 / (b - 2) * (row_k @ row_m.T)) / (b * (b - 3)))


@dataclass
class BlockGrams:
    """The Gram matrices of an encoder's layers, block by block of images: all that any later CKA needs.

    They stream in one pass, ``add`` being called a batch: memory is 4 b^2 bytes a block and layer (72 MB for seven
    layers at n = 10,000, b = 256), whatever the width. CKA between any two layers of any two encoders that saw the same
    blocks of images follows, and resampling blocks gives its interval.
    """

    layers: tuple[str, ...]
    blocks: list[np.ndarray] = field(default_factory=list)  # (L, b, b) float32, of centred features
    n_left_out: int = 0

    def add(self, activations: Sequence[np.ndarray]) -> None:
        """Add one batch: a (b, ...) array for each layer. A batch of fewer than 4 images is counted and left out.

        Raises:
            ScoresError: the number of layers or the batch sizes are not as expected, or values are not finite.
        """
        if len(activations) != len(self.layers) or len({len(a) for a in activations}) != 1:
            raise ScoresError(
                f"Expected {len(self.layers)} layers of one batch size; found {[np.shape(a) for a in activations]}."
            )
        size = len(activations[0])
        if size < 4:
            self.n_left_out += size
            return
        self.blocks.append(np.stack([_gram(a, name) for a, name in zip(activations, self.layers, strict=True)]))

    @property
    def n(self) -> int:
        """Images that count."""
        return sum(block.shape[-1] for block in self.blocks)


def _gram(activation: np.ndarray, name: str) -> np.ndarray:
    flat = np.asarray(activation).reshape(len(activation), -1)
    out = np.zeros((len(flat), len(flat)))
    # Strip by strip: a wide layer's features are never copied whole, and never multiplied before they are centred.
    for start in range(0, flat.shape[1], _STRIP):
        strip = flat[:, start : start + _STRIP].astype(float)
        strip -= strip.mean(axis=0)
        out += strip @ strip.T
    if not np.isfinite(out).all():
        raise ScoresError(f"The activations of layer {name} are not finite; the encoder or its input is broken.")
    return out.astype(np.float32)


@dataclass(frozen=True)
class CKAMatrix:
    """Debiased CKA of layers (rows: first encoder, columns: second) with intervals from resampled blocks.

    ``mean_low`` and ``mean_high`` bound :func:`mean_off_diagonal`; NaN between two encoders or with too few blocks.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    n_blocks: int
    mean_low: float = np.nan
    mean_high: float = np.nan


def cka_matrix(x: BlockGrams, y: BlockGrams | None = None, *, confidence: float = 0.95) -> CKAMatrix:
    """CKA between the layers of one encoder, or of two that saw the same images in the same blocks.

    HSIC_1 is averaged over blocks for XY, XX and YY apart, then the ratio is taken; averaging the CKA of blocks would
    be biased upwards. ``low`` and ``high`` come from leaving out each block, with Student's t on one degree of freedom less
    than blocks (NaN with fewer than ``FEWEST_BLOCKS``): percentiles of five resampled blocks would cover .81 for .95.

    Raises:
        ScoresError: no blocks, or blocks that do not match.
    """
    other = x if y is None else y
    if not x.blocks or [b.shape[-1] for b in x.blocks] != [b.shape[-1] for b in other.blocks]:
        raise ScoresError(
            f"CKA needs the same blocks of images from both encoders; found {len(x.blocks)} blocks of {x.n} images and "
            f"{len(other.blocks)} of {other.n}."
        )
    sizes = np.array([b.shape[-1] for b in x.blocks], float)
    cross, self_x, self_y = [], [], []
    for a, b in zip(x.blocks, other.blocks, strict=True):
        a, b = a.astype(float), b.astype(float)
        cross.append(_hsic1(a, b))
        self_x.append(np.diagonal(_hsic1(a, a)))
        self_y.append(np.diagonal(_hsic1(b, b)))
    hxy, hxx, hyy = np.stack(cross), np.stack(self_x), np.stack(self_y)

    def ratio(weights: np.ndarray) -> np.ndarray:
        w = weights * sizes
        xx, yy = w @ hxx, w @ hyy
        xy = np.tensordot(w, hxy, axes=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(xy / np.sqrt(xx[..., :, None] * yy[..., None, :]))

    value = ratio(np.ones(len(sizes)))
    if not np.isfinite(value).all():
        raise ScoresError("A layer has no similarity structure that can be told from noise. Use more images.")
    mean_low = mean_high = np.nan
    if len(sizes) < FEWEST_BLOCKS:
        low = high = np.full_like(value, np.nan)
    else:
        without = ratio(1.0 - np.eye(len(sizes)))
        low, high = _jackknife(value, without, confidence)
        if y is None and len(value) > 1:
            off = ~np.eye(len(value), dtype=bool)
            ends = _jackknife(value[off].mean(), without[:, off].mean(axis=1), confidence)
            mean_low, mean_high = (float(end) for end in ends)
    return CKAMatrix(value, low, high, x.n, len(sizes), mean_low, mean_high)


def _jackknife(value: np.ndarray, without: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """value +- t se, se from the values without each of G blocks (first axis); no end beyond what CKA can be, 1."""
    g = len(without)
    se = np.sqrt((g - 1) / g * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    half = scipy_stats.t.ppf(0.5 + confidence / 2, g - 1) * se
    return value - half, np.minimum(value + half, np.maximum(value, 1.0))


def mean_off_diagonal(value: np.ndarray) -> float:
    """Mean CKA between different layers of one encoder, as Kotar et al. compare methods by it (Appendix E)."""
    size = len(value)
    if value.shape != (size, size) or size < 2:
        raise ScoresError(f"The mean off the diagonal needs a square matrix of at least 2 layers; found {value.shape}.")
    return float((value.sum() - np.trace(value)) / (size * (size - 1)))
