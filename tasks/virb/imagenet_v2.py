"""ImageNet v2: ImageNet's heads on a test set collected anew (Recht et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import place

    root = place(context, "imagenet-v2", folder="imagenetv2-matched-frequency-format-val")
    return folders.imagenet_v2(root, split)


TASK = Task(
    name="imagenet-v2",
    summary="ImageNet's classes in images collected anew",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=256),
    classes=1000,
    heads_of="imagenet",
    is_optional=True,
    source="ImageNet v2, matched frequency, Recht et al. 2019",
    license="MIT",
    obtain=(
        "extract imagenetv2-matched-frequency.tar.gz (github.com/modestyachts/ImageNetV2) in the data folder; "
        "ImageNet must be there too, because its heads are scored."
    ),
    n_examples={"test": 10_000},
    deviations=("Of the three published samplings the matched-frequency one is used; the paper does not say which.",),
)
