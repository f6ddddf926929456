"""ImageNet (Deng et al. 2009), with WordNet's levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from virb.tasks.cole._suite import DEVIATIONS, HOW, PROTOCOL
from virb.tasks.virb.imagenet import TASK as IMAGENET

from virb.contracts.task import FROM_DATA

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import place

    return folders.imagenet_tree(place(context, "imagenet", folder="."), split, context)


TASK = replace(
    IMAGENET,
    name="cole-imagenet",
    version=1,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    data=data,
    obtain=f"{IMAGENET.obtain} {HOW}",
    deviations=(
        *IMAGENET.deviations,
        (
            "WordNet is no tree: of several hypernyms the first that it lists counts. The paper does not say which "
            "it took."
        ),
        *DEVIATIONS,
    ),
)
