"""Fixed position embeddings: the table that a network was given, not taught, tells which release it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def fixed_table(table: Tensor, *, n_prefix: int) -> str | None:
    """Return "mae" or "moco-v3" if a position embedding (1, n_prefix + G², D) is that release's sines and cosines.

    Both are [sin(a w), cos(a w), sin(b w), cos(b w)] with D/4 frequencies w = 10000^(-i/(D/4)). For MAE and I-JEPA a is
    the column and b the row (facebookresearch/mae: util/pos_embed.py); MoCo v3 builds its grid "ij" and so has them
    exchanged (facebookresearch/moco-v3: vits.py). None is a learned table, or one of another kind.
    """
    import torch

    n_patches, dim = table.shape[1] - n_prefix, table.shape[2]
    side = round(n_patches**0.5)
    if dim % 4 or side * side != n_patches or side < 2 or not table.is_floating_point():
        return None
    steps = torch.arange(side, dtype=torch.float64)
    frequencies = 1 / 10000 ** (torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = (axis.flatten()[:, None] * frequencies for axis in torch.meshgrid(steps, steps, indexing="ij"))
    patches = table[0, n_prefix:].double()
    for name, (first, second) in {"mae": (columns, rows), "moco-v3": (rows, columns)}.items():
        expected = torch.cat([first.sin(), first.cos(), second.sin(), second.cos()], dim=1)
        if torch.allclose(patches, expected, atol=2e-2 if table.dtype != torch.float32 else 1e-3):
            return name
    return None
