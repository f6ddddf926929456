"""Dense targets that are read when they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class LazyTargets(Sequence[np.ndarray]):
    """Dense targets that are read when they are used.

    ``digest_rows(rows)`` returns the digests of what the targets ``rows`` are made of, uint8 (n, 32), where that is
    known without reading the targets; they are what the records know the targets by.
    """

    def __init__(
        self,
        n: int,
        read: Callable[[int], np.ndarray],
        digest_rows: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.n = n
        self.read = read
        if digest_rows is not None:
            self.digest_rows = digest_rows

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.read(k) for k in range(self.n)[index]]
        return self.read(range(self.n)[int(index)])
