"""Breeds of cats and dogs (Parkhi et al. 2012)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL
from virb.tasks.virb.pets import TASK as PETS

TASK = replace(
    PETS,
    name="simclr-pets",
    version=1,
    protocol=PROTOCOL,
    metric="mean_per_class",
    deviations=(*PETS.deviations, *DEVIATIONS),
)
