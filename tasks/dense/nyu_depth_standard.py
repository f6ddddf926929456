"""Depth in NYU Depth V2 by its published split of 795 and 654 frames (Silberman et al. 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import nyu
    from virb.tasks.readers.common import place

    root = place(context, "nyu", "nyu-depth", folder="nyu")
    return nyu.depth(root, split, is_standard=True)


TASK = Task(
    name="nyu-depth-standard",
    summary="distance of every pixel in real rooms, in metres, by the published split",
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
        "put nyu_depth_v2_labeled.mat and splits.mat (cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html; reading them needs h5py) "
        "into the folder nyu/ of the data folder."
    ),
    n_examples={"train": 795, "test": 654},
    deviations=(
        "The head and its training are those of nyu-depth, whose split is the ViRB paper's.",
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
)
