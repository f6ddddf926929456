"""Fixed position embeddings are told apart by their numbers: written again here as each release's code makes them."""

from __future__ import annotations

import pytest
import torch

from virb.convert.positions import fixed_table

SIDE, DIM = 3, 16


def published(first: str) -> torch.Tensor:
    """A table (1, 1 + SIDE², DIM), a position at a time: sines and cosines of ``first``, then of the other axis."""
    out = torch.zeros(1, 1 + SIDE**2, DIM)
    for row in range(SIDE):
        for column in range(SIDE):
            a, b = (column, row) if first == "column" else (row, column)
            for i in range(DIM // 4):
                w = 10000 ** (-i / (DIM // 4))
                values = torch.tensor([a * w, a * w, b * w, b * w])
                here = out[0, 1 + row * SIDE + column]
                here[i :: DIM // 4] = torch.stack([values[0].sin(), values[1].cos(), values[2].sin(), values[3].cos()])
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_each_release_is_known_by_its_table(dtype):
    assert fixed_table(published("column").to(dtype), n_prefix=1) == "mae"
    assert fixed_table(published("row").to(dtype), n_prefix=1) == "moco-v3"


def test_a_learned_table_or_one_of_another_form_is_none_of_them():
    table = published("column")
    assert fixed_table(table + 0.01, n_prefix=1) is None
    assert fixed_table(torch.randn(1, 10, 16, generator=torch.Generator().manual_seed(0)), n_prefix=1) is None
    assert fixed_table(table, n_prefix=0) is None, "ten positions are no square"
    assert fixed_table(table[..., :15], n_prefix=1) is None
    assert fixed_table(table.long(), n_prefix=1) is None
