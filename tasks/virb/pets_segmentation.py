"""Cats and dogs against the background (Parkhi et al. 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import pets
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "pets", "pets-segmentation", folder="oxford-iiit-pet")
    return pets.masks(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("OxfordIIITPet", context, "pets", folder="oxford-iiit-pet", download=True)


TASK = Task(
    name="pets-segmentation",
    version=2,  # maps lie where their cells do
    summary="the cat or dog of each image, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=100, batch_size=32),
    classes=("background", "animal"),
    is_optional=True,
    source="Oxford-IIIT Pet, Parkhi et al. 2012",
    license="CC BY-SA 4.0",
    obtain="virb data prepare pets-segmentation, or torchvision.datasets.OxfordIIITPet.",
    prepare=prepare,
    n_examples={"train": 3_680, "test": 3_669},
    deviations=(
        "The trimap's border counts as animal; the paper does not say.",
        (
            "DeepLabv3+ and cross-entropy over two classes, as Table 1 prints; the public code trained a U-Net "
            "with binary cross-entropy on inverted masks."
        ),
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
)
