"""Tiny ImageNet (Stanford CS231n), with WordNet's levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.cole._suite import HOW
from virb.tasks.hammoud._suite import DEVIATIONS, SMALL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from dataclasses import replace

    from virb.tasks.readers import tiny_imagenet, wordnet
    from virb.tasks.readers.common import or_layout, place

    root = place(context, "tiny-imagenet", folder="tiny-imagenet-200")
    found = or_layout(context, "tiny-imagenet", split, 200, lambda: tiny_imagenet.tiny_imagenet(root, split))
    wnids = tiny_imagenet.wordnet_ids(found.classes, root)
    return replace(found, classes=wnids, tree=wordnet.tree(context, wnids)) if wnids else found


TASK = Task(
    name="hammoud-tiny-imagenet",
    summary="200 kinds of things in small images",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=SMALL,
    classes=FROM_DATA,
    is_optional=True,
    source="Tiny ImageNet, Stanford CS231n; ImageNet, Deng et al. 2009",
    license="ImageNet terms of access: non-commercial research and education",
    obtain=f"extract tiny-imagenet-200.zip (cs231n.stanford.edu) in the data folder. {HOW}",
    n_examples={"train": 100_000, "test": 10_000},
    deviations=(
        "The test split is the validation part: the labels of its own test images are not public.",
        "WordNet is no tree: of several hypernyms the first that it lists counts.",
        *DEVIATIONS,
    ),
)
