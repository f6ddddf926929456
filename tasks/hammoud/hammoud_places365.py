"""Scenes (Zhou et al. 2017)."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.cole.cole_places365 import TASK as PLACES365
from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL

TASK = replace(
    PLACES365,
    name="hammoud-places365",
    version=1,
    protocol=PROTOCOL,
    deviations=(
        "The test split is the validation set.",
        *DEVIATIONS,
    ),
)
