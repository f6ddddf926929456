"""Flowers of Britain (Nilsback and Zisserman 2008)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import fine_grained
    from virb.tasks.readers.common import or_layout, torchvision_folder

    root = torchvision_folder(context, "flowers-102", folder="flowers-102")
    return or_layout(context, "flowers-102", split, 102, lambda: fine_grained.flowers(root, split))


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("Flowers102", context, "flowers-102", folder="flowers-102", download=True)


TASK = Task(
    name="simclr-flowers-102",
    summary="102 kinds of flowers",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="mean_per_class",
    data=data,
    protocol=PROTOCOL,
    classes=102,
    is_optional=True,
    source="Oxford 102 Flowers, Nilsback and Zisserman 2008",
    license="none stated",
    obtain="virb data prepare simclr-flowers-102, or torchvision.datasets.Flowers102.",
    prepare=prepare,
    n_examples={"train": 2_040, "test": 6_149},
    deviations=DEVIATIONS,
)
