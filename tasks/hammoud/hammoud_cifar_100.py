"""CIFAR-100 (Krizhevsky 2009), with its 20 superclasses."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, SMALL
from virb.tasks.simclr.simclr_cifar_100 import TASK as CIFAR_100

TASK = replace(
    CIFAR_100,
    name="hammoud-cifar-100",
    version=1,
    protocol=SMALL,
    deviations=DEVIATIONS,
)
