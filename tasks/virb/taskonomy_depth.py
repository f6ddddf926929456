"""Depth in scanned buildings (Zamir et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import taskonomy
    from virb.tasks.readers.common import place

    root = place(context, "taskonomy", "taskonomy-depth", folder="taskonomy")
    return taskonomy.depth(root, split)


TASK = Task(
    name="taskonomy-depth",
    summary="distance of every pixel in scanned buildings, in metres",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="neg_l1",
    quantity="depth",
    unit="metre",
    data=data,
    protocol=Protocol(epochs=50, batch_size=32),
    is_optional=True,
    source="Taskonomy, Zamir et al. 2018",
    license="Taskonomy terms: non-commercial research",
    obtain=(
        "get the domains rgb and depth_zbuffer (taskonomy.stanford.edu) as taskonomy/rgb/<building>/ and "
        "taskonomy/depth_zbuffer/<building>/ in the data folder; the public ViRB repository lists the buildings "
        "it used."
    ),
    n_examples={"train": 39_995},
    deviations=(
        (
            "The paper's split is not published: here buildings are split by the hash of their name, so that none"
            " is in both, unless the folders train/ and test/ split them."
        ),
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
)
