"""CIFAR-10 (Krizhevsky 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import cifar
    from virb.tasks.readers.common import or_layout, torchvision_folder

    root = torchvision_folder(context, "cifar-10", folder="cifar-10-batches-py")
    return or_layout(context, "cifar-10", split, 10, lambda: cifar.cifar10(root.parent, split))


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("CIFAR10", context, "cifar-10", folder="cifar-10-batches-py", download=True)


TASK = Task(
    name="simclr-cifar-10",
    summary="10 kinds of things in small images",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="CIFAR-10, Krizhevsky 2009",
    license="none stated",
    obtain="virb data prepare simclr-cifar-10, or torchvision.datasets.CIFAR10.",
    prepare=prepare,
    n_examples={"train": 50_000, "test": 10_000},
    deviations=DEVIATIONS,
)
