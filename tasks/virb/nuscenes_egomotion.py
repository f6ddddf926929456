"""How a car moved between two frames of nuScenes (Caesar et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import nuscenes
    from virb.tasks.readers.common import place

    root = place(context, "nuscenes", "nuscenes-egomotion", folder="nuScenes")
    return nuscenes.egomotion(root, split)


TASK = Task(
    name="nuscenes-egomotion",
    summary="how the car moved between two frames",
    category=Category.STRUCTURAL_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    n_published={"train": 28_000},
    classes=("forward", "forward-left", "forward-right", "none"),
    n_frames=2,
    is_optional=True,
    source="nuScenes, Caesar et al. 2020; labels of Kotar et al. 2021",
    license="CC BY-NC-SA 4.0",
    obtain=(
        "get samples and sweeps from nuscenes.org into nuScenes/, and nuScenes_train.json and nuScenes_test.json "
        "of the public ViRB repository (github.com/klemenkotar/ViRB, Dataset Download) beside them."
    ),
    deviations=(
        "The paper trains on 28,000 and gives no size of the test split; what the archive holds is used, whatever its number.",
    ),
)
