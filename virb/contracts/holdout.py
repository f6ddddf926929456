"""Which training examples are held out to choose settings on: the data set's own validation part, else whole groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from virb.errors import UsageError


class ValidationPart(Protocol):
    """What a hold-out asks of a data set's own validation part (:class:`virb.contracts.examples.Examples`)."""

    @property
    def frames(self) -> np.ndarray: ...

    @property
    def groups(self) -> Sequence[str] | None: ...


def cut(
    frames: np.ndarray,
    groups: Sequence[str] | None,
    validation: ValidationPart | None,
    share: float,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a train split to fit and those to validate on, (n,) each, in their order.

    With a ``validation`` part of the data set's own nothing is drawn, and the second is empty: fitted is what is not in
    that part, neither the example itself nor another of its group. Without one, ``share`` of the examples are drawn.

    Args:
        frames: int (N, F), the images of each training example.
        groups: (N,), which examples belong together.

    Raises:
        UsageError: nothing would be left to fit.
    """
    if validation is None:
        return held_out(len(frames), share, seed=seed, groups=groups)
    theirs = {row.tobytes() for row in np.ascontiguousarray(validation.frames, dtype=np.int64)}
    is_fitted = np.array([row.tobytes() not in theirs for row in np.ascontiguousarray(frames, dtype=np.int64)])
    if groups is not None and validation.groups is not None:
        shared = set(map(str, validation.groups))
        is_fitted &= np.array([str(name) not in shared for name in groups])
    if not is_fitted.any():
        raise UsageError(
            f"All {len(frames):,} training examples are in the data set's validation part, or of its groups: nothing is left "
            "to fit while settings are chosen."
        )
    return np.flatnonzero(is_fitted), np.zeros(0, dtype=np.int64)


def held_out(
    n: int, share: float, *, seed: int = 0, groups: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut ``n`` training examples at random into those to fit and those to validate on; both in their order.

    Args:
        share: of the examples, how many to validate on.
        groups: (n,), which examples belong together: whole groups are held out, in random order while they fit into the
            share; the smallest alone where none does.

    Raises:
        UsageError: nothing would be left to fit.
    """
    n_wanted = max(1, round(share * n))
    if groups is None:
        order = np.random.default_rng(seed).permutation(n)
        if n_wanted >= n:
            raise UsageError(f"{n} training examples are too few to hold some out for validation.")
        return np.sort(order[n_wanted:]), np.sort(order[:n_wanted])
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise UsageError(
            f"All {n} training examples are of one group, {str(names[0])!r}: none can be held out for validation without "
            "its like on both sides."
        )
    sizes = np.bincount(group)
    is_held = np.zeros(len(names), dtype=bool)
    for one in np.random.default_rng(seed).permutation(len(names)):
        if sizes[is_held].sum() + sizes[one] <= n_wanted and is_held.sum() < len(names) - 1:
            is_held[one] = True
    if not is_held.any():
        is_held[np.argmin(sizes)] = True
    return np.flatnonzero(~is_held[group]), np.flatnonzero(is_held[group])
