"""CIFAR-100 (Krizhevsky 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import cifar
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "cifar-100", folder="cifar-100-python")
    return cifar.cifar100(root.parent, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("CIFAR100", context, "cifar-100", folder="cifar-100-python", download=True)


TASK = Task(
    name="cifar-100",
    summary="100 kinds of things in small images",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    classes=100,
    is_optional=True,
    source="CIFAR-100, Krizhevsky 2009",
    license="none stated",
    obtain="virb data prepare cifar-100, or torchvision.datasets.CIFAR100.",
    prepare=prepare,
    n_examples={"train": 50_000, "test": 10_000},
)
