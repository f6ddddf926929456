"""Depth in NYU Depth V2 (Silberman et al. 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import nyu
    from virb.tasks.readers.common import place

    root = place(context, "nyu", "nyu-depth", folder="nyu")
    return nyu.depth(root, split)


TASK = Task(
    name="nyu-depth",
    summary="distance of every pixel in real rooms, in metres",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="neg_l1",
    quantity="depth",
    unit="metre",
    data=data,
    protocol=Protocol(epochs=250, batch_size=32),
    is_optional=True,
    source="NYU Depth V2 (labelled), Silberman et al. 2012",
    license="none stated",
    obtain=(
        "put nyu_depth_v2_labeled.mat (cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; reading it needs h5py), or the "
        "folders train/ and test/ of the public ViRB repository's archive (github.com/klemenkotar/ViRB, Dataset "
        "Download), into the folder nyu/ of the data folder."
    ),
    n_examples={"train": 1_159, "test": 290},
    deviations=(
        (
            "1,159 training images as in the paper, whose split is that of the public ViRB archive's folders; from the "
            ".mat file, whole scenes are split by the hash of their name, so that none is in both."
        ),
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
)
