"""Semantic segmentation of streets (Cordts et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import cityscapes
    from virb.tasks.readers.common import place

    root = place(context, "cityscapes", folder=".")
    return cityscapes.streets(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("Cityscapes", context, "cityscapes", folder=".", split="train", target_type="semantic")


TASK = Task(
    name="cityscapes",
    version=2,  # maps lie where their cells do
    summary="19 classes of street scenes, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=100, batch_size=8, crop=513, crop_scales=(0.5, 2.0), crop_mirror=True),
    classes=(
        "road",
        "sidewalk",
        "building",
        "wall",
        "fence",
        "pole",
        "traffic light",
        "traffic sign",
        "vegetation",
        "terrain",
        "sky",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    ),
    is_optional=True,
    source="Cityscapes (fine annotations), Cordts et al. 2016",
    license="Cityscapes terms: non-commercial",
    obtain=(
        "register at cityscapes-dataset.com, put leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into the "
        "data folder, and extract them with virb data prepare cityscapes."
    ),
    prepare=prepare,
    n_examples={"train": 2_975, "test": 500},
    deviations=(
        (
            "2,975 training images where Table 2 prints 3,475: that is train and val together, and val is the "
            "only public test split."
        ),
        (
            "19 classes and a void that counts for nothing, as the benchmark defines; the paper counts void as a "
            "20th class."
        ),
    ),
    options={"ignore_index": 255},
)
