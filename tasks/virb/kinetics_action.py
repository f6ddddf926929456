"""Kinetics actions from six frames (Kay et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import kinetics
    from virb.tasks.readers.common import place

    root = place(context, "kinetics", "kinetics-action", folder="kinetics400")
    return kinetics.actions(root, split, max_clips=8_333 if split == "train" else None)


def prepare(context: DataContext) -> None:
    from virb.tasks.readers import kinetics
    from virb.tasks.readers.common import place

    kinetics.extract_frames(place(context, "kinetics", "kinetics-action", folder="kinetics400"))


TASK = Task(
    name="kinetics-action",
    summary="what a person does, from six frames",
    category=Category.SEMANTIC_IMAGE,
    head="fusion",
    loss="cross_entropy",
    metric="top1",
    data=data,
    protocol=Protocol(epochs=100, batch_size=64),
    classes=400,
    n_frames=6,
    is_optional=True,
    source="Kinetics-400, Kay et al. 2017",
    license="annotations CC BY 4.0; the videos belong to their owners",
    obtain=(
        "put the published train.json and validate.json into kinetics400/annotations/ and the clips into "
        "kinetics400/videos/{train,validate}/, named by their YouTube id; virb data prepare kinetics-action then takes "
        "their frames with ffmpeg. Frames that one has already lie as "
        "kinetics400/{train,validate}/<first two characters of the id>/<id>_<number>.jpg."
    ),
    prepare=prepare,
    n_examples={"train": 8_333},
    deviations=(
        (
            "The paper's 50,000 training frames are 8,333 clips of six; which clips is not published, so the hash"
            " of their id decides."
        ),
        "Six frames in the order of their numbers, of one second in the middle of the clip; the paper does not say which.",
        "The test split is all of validate whose frames are there: videos disappear, so its size is not fixed.",
    ),
)
