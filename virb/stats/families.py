"""Encoders of one family are not independent: correlations whose p and intervals count families.

With six families of five and two thirds of the variance between them, Student's p of two unrelated tasks rejects one
time in four at .05, and resampling families whole still one in eight: G families drawn G at a time spread too little, and
the normal's quantiles are too near. Leaving each family out in turn with Student's t on G - 1 degrees of freedom holds,
with families of unequal size too (Cameron, Gelbach and Miller 2008; Efron 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from virb.errors import ScoresError

#: Fewer families leave a t of one degree of freedom or none.
MIN_FAMILIES = 3


@dataclass(frozen=True)
class FamilyJackknife:
    """Of P correlations: p and the ends of the interval, each (P,); and how many families there are.

    ``effective`` is the number of equal families with the same concentration, (sum n)^2 / sum n^2: far below the number
    of families, one or two of them decide, and p is only as good as so few allow.
    """

    p: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_families: int
    effective: float


def family_codes(clusters: Sequence[object], n: int) -> np.ndarray:
    """Family of each of ``n`` encoders as 0, 1, ...

    Raises:
        ScoresError: another number of encoders is named, or fewer than three families.
    """
    names, member = np.unique([str(label) for label in clusters], return_inverse=True)
    if len(member) != n:
        raise ScoresError(f"clusters names {len(member)} encoders, the scores have {n}.")
    if len(names) < MIN_FAMILIES:
        raise ScoresError(
            f"The encoders are of {len(names)} families ({', '.join(names)}); at least {MIN_FAMILIES} are needed to say "
            "anything across families."
        )
    return np.asarray(member)


def family_jackknife(
    x: np.ndarray,
    clusters: Sequence[object],
    correlate: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
) -> FamilyJackknife:
    """p and intervals of every pair of tasks from leaving out each family: z +- t_(G-1) se, z being Fisher's transform.

    se^2 = (G-1)/G sum (z_(g) - mean)^2, z_(g) without family g.

    Args:
        x: (E, T) scores.
        clusters: family of each encoder, at least three different ones.
        correlate: (E', T) -> (T, T) correlations (NaN where there is none).

    Returns:
        FamilyJackknife; where leaving out a family leaves a task constant, p is 1 and the interval all of -1 to 1.
    """
    member = family_codes(clusters, len(x))
    sizes = np.bincount(member)
    g = len(sizes)
    upper = np.triu_indices(np.shape(x)[1], 1)
    edge = largest_below_one(len(x))

    def transformed(rows: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            z: np.ndarray = np.arctanh(np.clip(correlate(rows)[upper], -edge, edge))
            return z

    z = transformed(x)
    without = np.stack([transformed(x[member != family]) for family in range(g)])
    se = np.sqrt((g - 1) / g * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * scipy_stats.t.sf(np.abs(z) / se, g - 1)
    half = scipy_stats.t.ppf(0.5 + confidence / 2, g - 1) * se
    known = np.isfinite(se)
    return FamilyJackknife(
        np.where(known & (z != 0), p, 1.0),
        np.where(known, np.tanh(z - half), -1.0),
        np.where(known, np.tanh(z + half), 1.0),
        g,
        float(sizes.sum() ** 2 / (sizes**2).sum()),
    )


def largest_below_one(n: int) -> float:
    """The largest Spearman correlation below 1 that ``n`` pairs without ties can have: 1 - 12 / (n (n^2 - 1))."""
    return 1.0 - 12.0 / (n * (n * n - 1.0)) if n > 3 else 0.5


def between_families(x: np.ndarray, clusters: Sequence[object]) -> np.ndarray:
    """The part of every Pearson correlation that lies between families: r_B eta_x eta_y (T x T); the rest is within.

    eta^2 is the share of a task's variance between families, so the diagonal holds it.

    Args:
        x: (E, T) scores, or their ranks for Spearman.
        clusters: family of each encoder.
    """
    x = np.asarray(x, float)
    member = np.unique([str(label) for label in clusters], return_inverse=True)[1]
    centred = x - x.mean(axis=0)
    unit = centred / np.sqrt((centred**2).sum(axis=0))
    sums = np.zeros((member.max() + 1, x.shape[1]))
    np.add.at(sums, member, unit)
    return np.asarray(sums.T @ (sums / np.bincount(member)[:, None]))
