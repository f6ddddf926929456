"""Dishes (Bossard et al. 2014)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL
from virb.tasks.simclr.simclr_food_101 import TASK as FOOD_101

TASK = replace(
    FOOD_101,
    name="hammoud-food-101",
    version=1,
    protocol=PROTOCOL,
    deviations=DEVIATIONS,
)
