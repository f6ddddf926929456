"""Caltech-101 objects (Fei-Fei et al. 2004)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL
from virb.tasks.virb.caltech_101 import TASK as CALTECH_101

TASK = replace(
    CALTECH_101,
    name="simclr-caltech-101",
    version=1,
    protocol=PROTOCOL,
    metric="mean_per_class",
    deviations=(*CALTECH_101.deviations, *DEVIATIONS),
)
