"""The rendered world's rooms."""

from __future__ import annotations

from virb.tasks.datasets._rendered import rendered

from virb.contracts.dataset import DataSet

DATASET = DataSet(
    name="world-rooms",
    summary="the rendered world's rooms",
    load=rendered("world-rooms", "pretrain-rooms"),
    n_images=6_000,
)
