"""Species of plants, animals and fungi (Van Horn et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.cole._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import scenes_and_species
    from virb.tasks.readers.common import place

    return scenes_and_species.inat21(place(context, "inat21", folder="."), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    for version in ("2021_train", "2021_valid"):
        torchvision_prepare("INaturalist", context, "inat21", folder=".", version=version, download=True)


TASK = Task(
    name="cole-inat21",
    summary="10,000 species, with seven ranks",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="iNaturalist 2021, Van Horn et al. 2021",
    license="iNaturalist 2021 terms: non-commercial research and education",
    obtain=(
        "virb data prepare cole-inat21 (230 GB), or torchvision.datasets.INaturalist, versions 2021_train and "
        "2021_valid; or train.tar.gz and val.tar.gz (github.com/visipedia/inat_comp) extracted in a folder named by"
        " --data inat21=DIR."
    ),
    prepare=prepare,
    n_examples={"train": 2_686_843, "test": 100_000},
    deviations=(
        "The test split is the validation set, as in the paper: the test labels are not public.",
        *DEVIATIONS,
    ),
)
