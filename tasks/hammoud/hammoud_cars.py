"""Makes and models of cars (Krause et al. 2013)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL
from virb.tasks.simclr.simclr_cars import TASK as CARS

TASK = replace(
    CARS,
    name="hammoud-cars",
    version=1,
    protocol=PROTOCOL,
    deviations=DEVIATIONS,
)
