"""ImageNet (Deng et al. 2009), with WordNet's levels."""

from __future__ import annotations

from dataclasses import replace

from virb.tasks.cole.cole_imagenet import TASK as IMAGENET
from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL

TASK = replace(
    IMAGENET,
    name="hammoud-imagenet",
    version=1,
    protocol=PROTOCOL,
    deviations=(
        "The test split is the validation set: the labels of ImageNet's own test set are not public.",
        *DEVIATIONS,
    ),
)
