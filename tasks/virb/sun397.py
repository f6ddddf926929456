"""SUN scenes (Xiao et al. 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import torchvision_folder

    root = torchvision_folder(context, "sun397", folder="SUN397")
    return folders.sun397(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers.common import torchvision_prepare

    torchvision_prepare("SUN397", context, "sun397", folder="SUN397", download=True)


TASK = Task(
    name="sun397",
    summary="397 kinds of scenes",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=250, batch_size=64),
    classes=397,
    is_optional=True,
    source="SUN397, Xiao et al. 2010",
    license="research use",
    obtain="virb data prepare sun397, or torchvision.datasets.SUN397.",
    prepare=prepare,
    n_examples={"train": 87_003, "test": 21_751},
    deviations=(
        (
            "The paper's split has 87,003 training images but is not published; here the hash of the path decides"
            " which 80 % train."
        ),
    ),
)
