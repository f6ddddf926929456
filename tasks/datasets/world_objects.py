"""The rendered world's single objects."""

from __future__ import annotations

from virb.tasks.datasets._rendered import rendered

from virb.contracts.dataset import DataSet

DATASET = DataSet(
    name="world-objects",
    summary="the rendered world's single objects",
    n_images=6_000,
    load=rendered("world-objects", "pretrain-objects"),
)
