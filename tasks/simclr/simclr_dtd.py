"""Describable textures (Cimpoi et al. 2014), the first split."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL
from virb.tasks.virb.dtd import TASK as DTD

TASK = replace(
    DTD,
    name="simclr-dtd",
    version=1,
    protocol=PROTOCOL,
    deviations=(*DTD.deviations, *DEVIATIONS),
)
