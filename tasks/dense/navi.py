"""Geometric correspondence (Jampani et al. 2023): where a second photograph shows the same point of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import navi
    from virb.tasks.readers.common import place

    return navi.pairs(place(context, "navi", folder="navi"), split)


TASK = Task(
    name="navi",
    summary="where a photograph of another side shows the same point of an object, without training",
    category=Category.STRUCTURAL_PIXEL,
    head="match",
    loss="",
    metric="pck",
    quantity="flow",
    data=data,
    protocol=Protocol(epochs=1, batch_size=16),
    n_frames=2,
    is_optional=True,
    source="NAVI, Jampani et al. 2023; evaluation after Probe3D, El Banani et al. 2024",
    license="not stated in its README (its code: Apache 2.0)",
    obtain=(
        "extract navi_v1.5.tar.gz or navi_v1.0.tar.gz (github.com/google/navi) in the data folder, so that the objects' folders "
        "and custom_splits/ lie in navi/."
    ),
    deviations=(
        (
            "Every fourth image of pairs-wild_set.txt asks once, its partner at up to 120 degrees and chosen by hash. Probe3D takes "
            "every fourth image too, but draws the partners anew and does not read that list."
        ),
        (
            "The score is the share of points found within alpha=.05 of the object's square, 25.6 of 512 pixels, of each pair and "
            "then the mean. Probe3D's is the share within 25 pixels (and within 1, 2 and 5 cm in space) of a pair's 1,000 surest "
            "matches by a ratio test. Here those points of a grid of 256 x 256 count that the second image shows."
        ),
        (
            "The partner is looked for in the whole square, background included; Probe3D looks among the object's pixels. A "
            "cell's middle is where it is found; Probe3D resizes maps to 128 x 128."
        ),
        "Squares are resized to 512 pixels, then to the encoder's size. What lies beyond a photograph is black.",
    ),
    options={"out_channels": 2, "stride": 16, "alpha": 0.05},
)
