"""Semantic correspondence (Min et al. 2019): where another thing of the same kind has the same part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import spair
    from virb.tasks.readers.common import place

    return spair.pairs(place(context, "spair-71k", folder="SPair-71k"), split)


TASK = Task(
    name="spair-71k",
    summary="where another thing of the same kind has the same part, without training",
    category=Category.SEMANTIC_PIXEL,
    head="match",
    loss="",
    metric="pck",
    quantity="flow",
    data=data,
    protocol=Protocol(epochs=1, batch_size=16),
    n_frames=2,
    is_optional=True,
    source="SPair-71k, Min et al. 2019",
    license="none stated (images of PASCAL3D+ and Pascal VOC 2012: Flickr's terms)",
    obtain="extract SPair-71k.tar.gz (cvlab.postech.ac.kr/research/SPair-71k) in the data folder. Names hold a colon: not on Windows.",
    n_examples={"train": 53340, "test": 12234},
    deviations=(
        (
            "PCK at .1 of the longer side of the second object's box, of each pair and then the mean over all 12,234 test pairs; "
            "pck_point, beside it, is of the points of all pairs, as others report it. Neither is a mean over kinds."
        ),
        (
            "Images keep their ratio in a black square and are resized to the encoder's size; published scores are of 768 to 960 "
            "pixels. A point's feature is interpolated between cells, and the most similar cell's middle is where it is found."
        ),
        "The coarsest map of at most 16 pixels a cell is matched; of a transformer its last block.",
    ),
    options={"out_channels": 3, "stride": 16},
)
