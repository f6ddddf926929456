"""Pascal VOC 2007 classification (Everingham et al. 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import voc_classes
    from virb.tasks.readers.common import torchvision_folder

    return voc_classes.classification(torchvision_folder(context, "voc2007", folder="VOCdevkit"), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    for part in ("trainval", "test"):
        torchvision_prepare(
            "VOCDetection", context, "voc2007", folder="VOCdevkit", year="2007", image_set=part, download=True
        )


TASK = Task(
    name="simclr-voc2007",
    summary="which of 20 kinds of things are in an image",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="bce",
    metric="map",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="Pascal VOC 2007, Everingham et al. 2010",
    license="Flickr's terms of use",
    obtain="virb data prepare simclr-voc2007, or torchvision.datasets.VOCDetection for 2007, trainval and test.",
    prepare=prepare,
    n_examples={"train": 5_011, "test": 4_952},
    deviations=DEVIATIONS,
    options={"points": "11"},
    target="labels",
)
