"""CIFAR-10 (Krizhevsky 2009)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, SMALL
from virb.tasks.simclr.simclr_cifar_10 import TASK as CIFAR_10

TASK = replace(
    CIFAR_10,
    name="hammoud-cifar-10",
    version=1,
    protocol=SMALL,
    deviations=DEVIATIONS,
)
