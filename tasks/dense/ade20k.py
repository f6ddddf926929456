"""Scenes of any kind in 150 classes, pixel by pixel (Zhou et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import FROM_DATA, Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import ade20k
    from virb.tasks.readers.common import place

    return ade20k.scenes(place(context, "ade20k", folder="ADEChallengeData2016"), split)


TASK = Task(
    name="ade20k",
    summary="scenes in 150 classes, pixel by pixel",
    category=Category.SEMANTIC_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=32, batch_size=16, crop=512, crop_scales=(0.5, 2.0), crop_mirror=True, short_side=512),
    classes=FROM_DATA,
    is_optional=True,
    source="ADE20K (SceneParse150), Zhou et al. 2017; protocol of DINOv2, Oquab et al. 2023",
    license="annotations BSD 3-clause; images: non-commercial research and education",
    obtain="extract ADEChallengeData2016.zip (sceneparsing.csail.mit.edu) in the data folder.",
    n_examples={"train": 20_210, "test": 2_000},
    deviations=(
        "The test split is the validation set: the labels of its own test images are not public.",
        "32 epochs of 16 are 40,448 updates, where DINOv2 and DINOv3 publish 40,000. Their linear layer: --probe linear-dense.",
        (
            "Images are tested whole at a shorter side of 512, where they average windows of 512 at a stride of 341; no photometric "
            "distortion, and a crop may be of one class. Factors are log-uniform from .5 to 2, theirs uniform."
        ),
        "Void (0 in the files) counts for nothing, in training and in the score, as in their code.",
    ),
    options={"ignore_index": 255},
)
