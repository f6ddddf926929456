"""Breeds of cats and dogs (Parkhi et al. 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import pets
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "pets", folder="oxford-iiit-pet")
    return pets.breeds(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("OxfordIIITPet", context, "pets", folder="oxford-iiit-pet", download=True)


TASK = Task(
    name="pets",
    summary="37 breeds of cats and dogs",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=500, batch_size=64),
    classes=37,
    is_optional=True,
    source="Oxford-IIIT Pet, Parkhi et al. 2012",
    license="CC BY-SA 4.0",
    obtain="virb data prepare pets, or torchvision.datasets.OxfordIIITPet.",
    prepare=prepare,
    n_examples={"train": 3_680, "test": 3_669},
)
