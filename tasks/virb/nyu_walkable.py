"""Where one can walk in NYU Depth V2 (Mottaghi et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import nyu
    from virb.tasks.readers.common import place

    root = place(context, "nyu", "nyu-walkable", folder="nyu")
    return nyu.walkable(root, split)


TASK = Task(
    name="nyu-walkable",
    version=2,  # maps lie where their cells do
    summary="where one can walk in real rooms, pixel by pixel",
    category=Category.STRUCTURAL_PIXEL,
    head="deeplabv3plus",
    loss="cross_entropy",
    metric="miou",
    data=data,
    protocol=Protocol(epochs=100, batch_size=32),
    classes=("not walkable", "walkable"),
    is_optional=True,
    source="NYU Depth V2 (labelled), Silberman et al. 2012; task of Mottaghi et al. 2016",
    license="none stated",
    obtain=(
        "put nyu_depth_v2_labeled.mat (cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; reading it needs h5py), or the "
        "folders train/ and test/ of the public ViRB repository's archive (github.com/klemenkotar/ViRB, Dataset "
        "Download), into the folder nyu/ of the data folder."
    ),
    n_examples={"train": 1_159, "test": 290},
    deviations=(
        (
            "Walkable are floor, floor mat, rug, carpet and mats; pixels without a label count for nothing. The "
            "paper says 'floor, carpet, etc.'."
        ),
        (
            "1,159 training images as in the paper, whose split is that of the public ViRB archive's folders; from the "
            ".mat file, whole scenes are split by the hash of their name, so that none is in both."
        ),
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
    options={"ignore_index": 255},
)
