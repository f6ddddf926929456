"""A hundred of ImageNet's classes (Tian et al. 2020), with WordNet's levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.cole._suite import HOW
from virb.tasks.hammoud._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import place

    return folders.imagenet_100(
        place(context, "imagenet-100", folder="imagenet100"), place(context, "imagenet", folder="."), split, context
    )


TASK = Task(
    name="hammoud-imagenet-100",
    summary="100 of ImageNet's kinds of things",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="ImageNet-100, Tian et al. 2020; ImageNet, Deng et al. 2009",
    license="ImageNet terms of access: non-commercial research and education",
    obtain=(
        "put the 100 WordNet ids of github.com/HobbitLong/CMC as imagenet100.txt into the folder imagenet100/ of "
        "the data folder, beside ImageNet (see imagenet); or folders imagenet100/train/ and imagenet100/val/ of "
        f"those classes. {HOW}"
    ),
    n_examples={"train": 126_689, "test": 5_000},
    deviations=(
        "The test split is ImageNet's validation set of these classes.",
        "WordNet is no tree: of several hypernyms the first that it lists counts.",
        *DEVIATIONS,
    ),
)
