"""EuroSAT land use from satellite images (Helber et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "eurosat", folder="eurosat")
    return folders.eurosat(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("EuroSAT", context, "eurosat", folder="eurosat", download=True)


TASK = Task(
    name="eurosat",
    summary="ten kinds of land use in satellite images",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=200, batch_size=64),
    classes=10,
    is_optional=True,
    source="EuroSAT (RGB), Helber et al. 2019",
    license="MIT",
    obtain="virb data prepare eurosat, or torchvision.datasets.EuroSAT.",
    prepare=prepare,
    n_examples={"train": 21_600, "test": 5_400},
    deviations=(
        "10 classes, as the data set has; the paper prints 20.",
        "The split is not published; here the hash of the path decides which 80 % of each class train.",
    ),
)
