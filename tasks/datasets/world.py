"""The rendered world's single objects and rooms together."""

from __future__ import annotations

from virb.tasks.datasets._rendered import rendered

from virb.contracts.dataset import DataSet

DATASET = DataSet(
    name="world",
    summary="the rendered world's single objects and rooms together",
    load=rendered("world", "pretrain-objects", "pretrain-rooms"),
    n_images=12_000,
)
