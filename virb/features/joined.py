"""Embeddings of several encoders side by side, each standardised by the examples that a head trains on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from virb.system.mapped import Rows, Walk

BLOCK_BYTES = 8 << 20
MAX_IN_MEMORY = 64 << 20  # larger ones are a mapped file


def joined(
    parts: Sequence[np.ndarray], fitted: Sequence[np.ndarray], frames: np.ndarray, n: int, place: Path
) -> np.ndarray:
    """Return the first ``n`` rows of ``parts`` (M, D_k) side by side, float32 (n, sum of D_k).

    Each part is less its mean over the rows ``frames`` of its array in ``fitted``, and over the root mean square of what is
    left there, one number a part.

    Args:
        place: the file that holds the result where it is large.
    """
    moments = [_moments(array, np.unique(frames)) for array in fitted]
    shape = (n, sum(part.shape[1] for part in parts))
    out: np.ndarray = (
        np.empty(shape, np.float32)
        if 4 * n * shape[1] <= MAX_IN_MEMORY
        else np.lib.format.open_memmap(place, mode="w+", dtype=np.float32, shape=shape)
    )
    sources, walk = [Rows(part) for part in parts], Walk(out)
    step = max(1, BLOCK_BYTES // (4 * shape[1]))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        first = 0
        for source, (mean, scale) in zip(sources, moments, strict=True):
            width = len(mean)
            out[rows, first : first + width] = (source.take(rows) - mean) / scale
            first += width
        walk.rows(len(rows))
    if isinstance(out, np.memmap):
        out.flush()
    return out


def _moments(array: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Return the mean (D,) of these rows, and the root mean square of all that differs from it (1 where nothing does)."""
    source, step = Rows(array), max(1, BLOCK_BYTES // (4 * array.shape[1]))
    blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
    mean = sum(source.take(block).sum(axis=0, dtype=np.float64) for block in blocks) / len(rows)
    square = sum(float(np.square(source.take(block) - mean).sum()) for block in blocks)
    return np.asarray(mean, np.float32), np.float32((square / (len(rows) * array.shape[1])) ** 0.5 or 1.0)
