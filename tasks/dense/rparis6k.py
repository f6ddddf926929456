"""Retrieval of buildings of Paris: revisited Paris (Radenovic et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import landmarks
    from virb.tasks.readers.common import place

    return landmarks.revisited(place(context, "rparis6k", folder="rparis6k"), split)


TASK = Task(
    name="rparis6k",
    summary="which images show the building of a query, buildings of Paris",
    category=Category.SEMANTIC_IMAGE,
    head="retrieve",
    loss="",
    metric="retrieval_map",
    data=data,
    protocol=Protocol(epochs=1),
    is_optional=True,
    source="Revisited Paris (RParis6k), Radenovic et al. 2018; Paris Buildings, Philbin et al. 2008",
    license="none stated (images of Flickr; research use)",
    obtain=(
        "put the images into rparis6k/jpg/ and gnd_rparis6k.mat (cmp.felk.cvut.cz/revisitop) into rparis6k/ of the data folder. "
        "The .pkl beside it is not read: a pickle can run anything."
    ),
    n_examples={"train": 6322, "test": 70},
    deviations=(
        "The score is mAP of Medium; Easy and Hard, and mP@1, 5 and 10 of each, are numbers of the record beside it.",
        "Queries are cut to their boxes, as the benchmark asks; published scores of DINO are of whole queries.",
        (
            "Images are resized to the encoder's size, both sides; published scores keep the ratio, at 224 (DINO) to 1024 "
            "pixels of the longer side, some at several scales. The descriptor is the encoder's embedding, compared by cosine."
        ),
    ),
)
