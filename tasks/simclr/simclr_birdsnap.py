"""Birds of North America (Berg et al. 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import fine_grained
    from virb.tasks.readers.common import place

    return fine_grained.birdsnap(place(context, "birdsnap", folder="birdsnap"), split)


TASK = Task(
    name="simclr-birdsnap",
    summary="500 species of birds",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="Birdsnap, Berg et al. 2014",
    license="none stated (images of Flickr; research use)",
    obtain=(
        "extract birdsnap.tgz (thomasberg.org) in the data folder and run its get_birdsnap.py there, in birdsnap/."
    ),
    n_examples={"train": 47_386, "test": 2_443},
    deviations=(
        ("Many of the images can no longer be fetched; those that can are used, and how many are missing is said."),
        *DEVIATIONS,
    ),
)
