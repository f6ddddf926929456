"""Describable textures (Cimpoi et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import dtd
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "dtd", folder="dtd")
    return dtd.textures(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("DTD", context, "dtd", folder="dtd", download=True)


TASK = Task(
    name="dtd",
    summary="47 textures",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    classes=47,
    is_optional=True,
    source="Describable Textures Dataset, split 1, Cimpoi et al. 2014",
    license="research use",
    obtain="virb data prepare dtd, or torchvision.datasets.DTD.",
    prepare=prepare,
    n_examples={"train": 3_760, "test": 1_880},
)
