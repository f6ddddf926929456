"""What the batteries share: how a check fails, and random outputs and targets of every kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from virb.errors import VirbError

K, N, DIM, SIZE = 3, 24, 20, 32  # classes (or numbers), examples, width of embeddings, pixels

Checks = list[tuple[str, Callable[[], "str | None"]]]


class Wrong(VirbError):
    """A check that failed, with what was found."""


def must(is_so: bool, text: str) -> None:
    if not is_so:
        raise Wrong(text)


def sample(target: str, *, n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return random outputs (n, K, ...), targets of a kind, and the class that counts for nothing; some have no target."""
    rng = np.random.default_rng(seed)
    place = (5, 4) if target in ("mask", "map") else ()
    outputs = rng.normal(size=(n, K, *place)).astype(np.float32)
    if target in ("class", "mask"):
        found = rng.integers(0, K, (n, *place))
        return outputs, np.where(rng.random(found.shape) < 0.2, 255, found) if place else found, 255 if place else None
    if target == "labels":
        return outputs, rng.choice([-1, 0, 1], (n, K), p=[0.1, 0.5, 0.4]), None
    if target == "relevance":
        return outputs, rng.choice([-1, 0, 1, 2], (n, K), p=[0.1, 0.4, 0.3, 0.2]), None
    numbers = rng.normal(size=(n, K, *place)).astype(np.float32)
    return outputs, np.where(rng.random(numbers.shape) < 0.2, np.nan, numbers).astype(np.float32), None
