"""Flowers of Britain (Nilsback and Zisserman 2008)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL
from virb.tasks.simclr.simclr_flowers_102 import TASK as FLOWERS_102

TASK = replace(
    FLOWERS_102,
    name="hammoud-flowers-102",
    version=1,
    protocol=PROTOCOL,
    metric="top1",
    deviations=DEVIATIONS,
)
