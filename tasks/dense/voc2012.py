"""Twenty kinds of things and background, pixel by pixel (Everingham et al. 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import voc_masks
    from virb.tasks.readers.common import torchvision_folder

    return voc_masks.masks(torchvision_folder(context, "voc2012", folder="VOCdevkit"), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare(
        "VOCSegmentation", context, "voc2012", folder="VOCdevkit", year="2012", image_set="trainval", download=True
    )


TASK = Task(
    name="voc2012",
    summary="twenty kinds of things and background, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=437, batch_size=16, crop=512, crop_scales=(0.5, 2.0), crop_mirror=True, short_side=512),
    classes=(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
    is_optional=True,
    source="Pascal VOC 2012 segmentation, Everingham et al. 2010; protocol of DINOv2, Oquab et al. 2023",
    license="Flickr's terms of use",
    obtain="virb data prepare voc2012, or torchvision.datasets.VOCSegmentation for 2012.",
    prepare=prepare,
    n_examples={"train": 1_464, "test": 1_449},
    deviations=(
        "The test split is the set's val list: the labels of its own test images are not public.",
        (
            "Train is the set's own train list, as in DINOv2's configuration, and not the 10,582 images with SBD's annotations: "
            "scores are not comparable with those of trainaug."
        ),
        ("437 epochs of 16 are 40,204 updates, where DINOv2 publishes 40,000. Its linear layer: --probe linear-dense."),
        (
            "Images are tested whole at a shorter side of 512, where DINOv2 averages windows of 512 at a stride of 341; no "
            "photometric distortion, and a crop may be of one class. Factors are log-uniform from .5 to 2, theirs uniform."
        ),
    ),
    options={"ignore_index": 255},
)
