"""SUN scenes (Xiao et al. 2010), the first of the published partitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL
from virb.tasks.virb.sun397 import TASK as SUN397

from virb.contracts.task import FROM_DATA

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import torchvision_folder

    return folders.sun397_partition(torchvision_folder(context, "sun397", folder="SUN397"), split)


TASK = replace(
    SUN397,
    name="simclr-sun397",
    version=1,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    data=data,
    n_examples={"train": 19_850, "test": 19_850},
    obtain=(
        "virb data prepare simclr-sun397, or torchvision.datasets.SUN397; and Partitions.zip "
        "(vision.princeton.edu/projects/2010/SUN) in SUN397/: ClassName.txt, Training_01.txt and Testing_01.txt."
    ),
    deviations=DEVIATIONS,
)
