"""Surface patterns: functions of the surface coordinates (metres) that mix a material's two colours."""

from __future__ import annotations

import numpy as np

PATTERNS = ("plain", "stripes", "checks", "dots", "bricks", "stone", "clouds", "zigzag", "wood", "tiles", "speckle")


def _hash(i: np.ndarray, j: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each lattice point."""
    h = (i.astype("i8") * 374761393 + j.astype("i8") * 668265263 + seed.astype("i8") * 982451653) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF).astype("f4") / 65536


def _smooth_noise(u: np.ndarray, v: np.ndarray, seed: np.ndarray) -> np.ndarray:
    i, j = np.floor(u), np.floor(v)
    fu, fv = u - i, v - j
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    i, j = i.astype("i4"), j.astype("i4")
    low = _hash(i, j, seed) * (1 - fu) + _hash(i + 1, j, seed) * fu
    high = _hash(i, j + 1, seed) * (1 - fu) + _hash(i + 1, j + 1, seed) * fu
    return low * (1 - fv) + high * fv


def _stripes(u, v, seed):
    return (u - np.floor(u)) < 0.5


def _checks(u, v, seed):
    return ((np.floor(u * 1.5) + np.floor(v * 1.5)) % 2) < 0.5


def _dots(u, v, seed):
    row = np.floor(v * 1.3)
    fu = u * 1.3 + 0.5 * (row % 2)
    du, dv = fu - np.floor(fu) - 0.5, v * 1.3 - row - 0.5
    return du * du + dv * dv < 0.09


def _bricks(u, v, seed):
    row = np.floor(v * 1.7)
    fu = u * 0.85 + 0.5 * (row % 2)
    du, dv = fu - np.floor(fu), v * 1.7 - row
    shade = 0.25 * _hash(np.floor(fu).astype("i4"), row.astype("i4"), seed)
    return np.where((du < 0.09) | (dv < 0.18), 1.0, shade)


def _stone(u, v, seed):
    """Cells around random points, with joints between them."""
    i, j = np.floor(u), np.floor(v)
    best = np.full(u.shape, 9.0, "f4")
    second = best.copy()
    shade = np.zeros(u.shape, "f4")
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            ci, cj = (i + di).astype("i4"), (j + dj).astype("i4")
            du = ci + 0.15 + 0.7 * _hash(ci, cj, seed) - u
            dv = cj + 0.15 + 0.7 * _hash(ci, cj, seed + 7) - v
            d = np.sqrt(du * du + dv * dv)
            is_best = d < best
            second = np.where(is_best, best, np.minimum(second, d))
            shade = np.where(is_best, _hash(ci, cj, seed + 13), shade)
            best = np.where(is_best, d, best)
    return np.where(second - best < 0.12, 1.0, 0.45 * shade)


def _clouds(u, v, seed):
    n = (
        _smooth_noise(u, v, seed)
        + 0.5 * _smooth_noise(2.1 * u, 2.1 * v, seed + 3)
        + 0.25 * _smooth_noise(4.3 * u, 4.3 * v, seed + 5)
    )
    return np.clip((n / 1.75 - 0.5) * 2.6 + 0.5, 0, 1)


def _zigzag(u, v, seed):
    w = v + 0.5 * np.abs(2 * (u * 0.8 - np.floor(u * 0.8)) - 1)
    return (w - np.floor(w)) < 0.5


def _wood(u, v, seed):
    plank = np.floor(v * 0.8)
    edge = (v * 0.8 - plank) < 0.06
    tone = _hash(plank.astype("i4"), np.zeros_like(plank, "i4"), seed)
    grain = _smooth_noise(u * 0.7 + 17 * tone, v * 6, seed)
    return np.where(edge, 0.9, 0.35 * tone + 0.4 * grain)


def _tiles(u, v, seed):
    du, dv = u - np.floor(u), v - np.floor(v)
    tone = 0.2 * _hash(np.floor(u).astype("i4"), np.floor(v).astype("i4"), seed)
    return np.where((du < 0.06) | (dv < 0.06), 1.0, tone)


def _speckle(u, v, seed):
    return np.where(_smooth_noise(u * 2.5, v * 2.5, seed) > 0.66, 1.0, 0.0)


_FUNCTIONS = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "bricks": _bricks,
    "stone": _stone,
    "clouds": _clouds,
    "zigzag": _zigzag,
    "wood": _wood,
    "tiles": _tiles,
    "speckle": _speckle,
}


def mix_share(pattern: np.ndarray, u: np.ndarray, v: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Share of the second colour at each of K points, in [0, 1].

    ``pattern`` holds indices into :data:`PATTERNS`; ``u`` and ``v`` are in units of the pattern's period; all are (K,).
    """
    share = np.zeros(u.shape, "f4")
    for k in np.unique(pattern):
        if k:
            at = np.flatnonzero(pattern == k)
            share[at] = _FUNCTIONS[PATTERNS[k]](u[at], v[at], seed[at])
    return share
