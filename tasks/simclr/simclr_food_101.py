"""Dishes (Bossard et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import fine_grained
    from virb.tasks.readers.common import or_layout, torchvision_folder

    root = torchvision_folder(context, "food-101", folder="food-101")
    return or_layout(context, "food-101", split, 101, lambda: fine_grained.food(root, split))


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("Food101", context, "food-101", folder="food-101", download=True)


TASK = Task(
    name="simclr-food-101",
    summary="101 dishes",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="Food-101, Bossard et al. 2014",
    license="none stated (images of foodspotting.com; research use)",
    obtain="virb data prepare simclr-food-101, or torchvision.datasets.Food101.",
    prepare=prepare,
    n_examples={"train": 75_750, "test": 25_250},
    deviations=DEVIATIONS,
)
