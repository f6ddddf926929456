"""Variants of aircraft (Maji et al. 2013), with families and manufacturers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.tasks.simclr._suite import DEVIATIONS, PROTOCOL

from virb.contracts.task import FROM_DATA, Category, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import fine_grained
    from virb.tasks.readers.common import torchvision_folder

    return fine_grained.aircraft(torchvision_folder(context, "fgvc-aircraft", folder="fgvc-aircraft-2013b"), split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("FGVCAircraft", context, "fgvc-aircraft", folder="fgvc-aircraft-2013b", download=True)


TASK = Task(
    name="simclr-aircraft",
    summary="100 variants of aircraft",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="mean_per_class",
    data=data,
    protocol=PROTOCOL,
    classes=FROM_DATA,
    is_optional=True,
    source="FGVC Aircraft, Maji et al. 2013",
    license="non-commercial research",
    obtain="virb data prepare simclr-aircraft, or torchvision.datasets.FGVCAircraft.",
    prepare=prepare,
    n_examples={"train": 6_667, "test": 3_333},
    deviations=DEVIATIONS,
)
