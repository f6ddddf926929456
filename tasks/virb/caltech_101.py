"""Caltech-101 objects (Fei-Fei et al. 2004)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "caltech-101", folder="caltech101")
    return folders.caltech101(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("Caltech101", context, "caltech-101", folder="caltech101", download=True)


TASK = Task(
    name="caltech-101",
    summary="101 kinds of objects, and background",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=5000, batch_size=64),
    classes=102,
    is_optional=True,
    source="Caltech-101, Fei-Fei et al. 2004",
    license="CC BY 4.0",
    obtain="virb data prepare caltech-101, or torchvision.datasets.Caltech101.",
    prepare=prepare,
    n_examples={"train": 3_060, "test": 6_084},
    deviations=(
        (
            "102 classes where the paper prints 101: its 3,060 training images are 30 each of 102, with the "
            "background category."
        ),
        "Which 30 images of a class train is not published; here the hash of their path decides.",
    ),
)
