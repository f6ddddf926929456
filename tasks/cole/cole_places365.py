"""Scenes (Zhou et al. 2017), with the two levels above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.cole._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import scenes_and_species
    from virb.tasks.readers.common import place

    return scenes_and_species.places365(place(context, "places365", folder="."), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    for part in ("train-standard", "val"):
        torchvision_prepare("Places365", context, "places365", folder=".", split=part, small=True, download=True)


TASK = Task(
    name="cole-places365",
    summary="365 kinds of scenes",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="Places365-Standard, small images, Zhou et al. 2017",
    license="CC BY; images: non-commercial research and education",
    obtain=(
        "virb data prepare cole-places365 (25 GB), or torchvision.datasets.Places365 with small=True; for the "
        'levels, the publishers\' table "Scene hierarchy" as .csv or .tsv beside the lists.'
    ),
    prepare=prepare,
    n_examples={"train": 1_803_460, "test": 36_500},
    deviations=(
        "The test split is the validation set, as in the paper.",
        (
            "Of several places that the hierarchy marks for a scene the first column counts; the paper does not say"
            " which it took."
        ),
        *DEVIATIONS,
    ),
)
