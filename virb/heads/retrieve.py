"""Retrieval without training: how like each training example a query is, by the cosine of their embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from virb.contracts.head import Facts, Head
from virb.errors import DataError

QUERIES_AT_ONCE = 256


class Retrieve(nn.Module):
    """Similarities (B, M) of embeddings (B, D) to what was shown to :meth:`remember`; it has no weights.

    A column that no example stands for has NaN.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gallery", torch.empty(0, 0))
        self.register_buffer("columns", torch.empty(0, dtype=torch.long))
        self.gallery: Tensor
        self.columns: Tensor

    def remember(self, x: Tensor, targets: Tensor) -> None:
        """Keep the embeddings (N, D) of what is searched; ``targets`` (N,) say which column each is.

        Raises:
            DataError: two examples are one column.
        """
        if len(targets.unique()) < len(targets):
            raise DataError("Two examples of what is searched have one number; expected a number of its own for each.")
        self.gallery, self.columns = F.normalize(x.float(), dim=1), targets.long()

    def forward(self, x: Tensor) -> Tensor:
        found = x.new_full((len(x), int(self.columns.max()) + 1), torch.nan, dtype=torch.float32)
        for start in range(0, len(x), QUERIES_AT_ONCE):
            part = F.normalize(x[start : start + QUERIES_AT_ONCE].float(), dim=1)
            found[start : start + QUERIES_AT_ONCE, self.columns] = part @ self.gallery.T
        return found


def build(facts: Facts, n_out: int) -> Retrieve:
    """Return the head; it answers for as many things as it is shown, whatever ``n_out``."""
    return Retrieve()


HEAD = Head(
    name="retrieve",
    summary="no training: the cosine of a query to each training example",
    reads="embedding",
    build=build,
    trains=False,
)
