"""CIFAR-100 (Krizhevsky 2009), with its 20 superclasses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL
from virb.tasks.virb.cifar_100 import TASK as CIFAR_100

from virb.contracts.task import FROM_DATA

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import cifar
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "cifar-100", folder="cifar-100-python")
    return cifar.cifar100_tree(root.parent, split)


TASK = replace(
    CIFAR_100,
    name="simclr-cifar-100",
    version=1,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    data=data,
    deviations=(*CIFAR_100.deviations, *DEVIATIONS),
)
