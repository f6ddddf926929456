"""Breeds of cats and dogs (Parkhi et al. 2012)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL
from virb.tasks.simclr.simclr_pets import TASK as PETS

TASK = replace(
    PETS,
    name="hammoud-pets",
    version=1,
    protocol=PROTOCOL,
    metric="top1",
    deviations=DEVIATIONS,
)
