"""Whose hand is where, from a head-worn camera (Bambach et al. 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import egohands
    from virb.tasks.readers.common import place

    root = place(context, "egohands", folder="egohands_data")
    if not (root / egohands.SAMPLES).is_dir() and (root.parent / egohands.SAMPLES).is_dir():
        root = root.parent  # the archive has no top folder
    return egohands.hands(root, split)


TASK = Task(
    name="egohands",
    version=2,  # maps lie where their cells do
    summary="own and other hands, left and right, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=25, batch_size=8, crop=513, crop_scales=(0.5, 2.0), crop_mirror=False),
    classes=("background", "own left hand", "own right hand", "other's left hand", "other's right hand"),
    is_optional=True,
    source="EgoHands, Bambach et al. 2015",
    license="research use",
    obtain=(
        "extract egohands_data.zip (vision.soic.indiana.edu/projects/egohands) in the folder egohands_data/ of the data folder; "
        "it has no top folder of its own, and _LABELLED_SAMPLES/ in the data folder itself is found too."
    ),
    n_examples={"train": 3_600, "test": 800},
    deviations=(
        (
            "3,600 training frames where Table 2 prints 4,800: that is all 48 videos; 36 train, 4 are kept for "
            "choosing hyperparameters and 8 test. The hash of a video's name decides: the sizes are those of the published main "
            "split (36/4/8), the videos are not, so that scores are not comparable with those on it."
        ),
        "Crops are not mirrored: that would make a left hand a right one.",
    ),
    options={"ignore_index": 255},
)
