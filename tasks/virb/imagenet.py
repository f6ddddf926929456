"""ImageNet classification (Deng et al. 2009)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import place

    root = place(context, "imagenet", folder=".")
    return folders.imagenet(root, split)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers import folders
    from virb.tasks.readers.common import place, torchvision_prepare

    folders.sort_val(place(context, "imagenet", folder="."))
    for split in ("train", "val"):
        torchvision_prepare("ImageNet", context, "imagenet", folder=".", split=split)


TASK = Task(
    name="imagenet",
    summary="1,000 kinds of things in natural images",
    category=Category.SEMANTIC_IMAGE,
    head="linear",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=256),
    classes=1000,
    is_optional=True,
    source="ImageNet (ILSVRC 2012), Deng et al. 2009",
    license="ImageNet terms of access: non-commercial research and education",
    obtain=(
        "request access at image-net.org, put ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
        "ILSVRC2012_devkit_t12.tar.gz into the data folder, and extract them with virb data prepare imagenet."
    ),
    prepare=prepare,
    n_examples={"train": 1_281_167, "test": 50_000},
    deviations=("The test split is the validation set: the labels of ImageNet's own test set are not public.",),
)
