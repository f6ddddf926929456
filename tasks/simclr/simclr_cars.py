"""Makes and models of cars (Krause et al. 2013)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import fine_grained
    from virb.tasks.readers.common import or_layout, torchvision_folder

    root = torchvision_folder(context, "stanford-cars", folder="stanford_cars")
    return or_layout(context, "stanford-cars", split, 196, lambda: fine_grained.cars(root, split))


TASK = Task(
    name="simclr-cars",
    summary="196 models of cars",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="Stanford Cars, Krause et al. 2013",
    license="none stated (ImageNet's terms; research use)",
    obtain=(
        "put cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat, as "
        "torchvision.datasets.StanfordCars reads them, into stanford_cars/ in the data folder (the publishers' own "
        "server is gone)."
    ),
    n_examples={"train": 8_144, "test": 8_041},
    deviations=DEVIATIONS,
)
