"""Depth in AI2-THOR (Kotar et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virb.contracts.task import Category, Protocol, Task

if TYPE_CHECKING:
    from virb.contracts.examples import DataContext, Examples


def data(context: DataContext, split: str) -> Examples:
    from virb.tasks.readers import thor
    from virb.tasks.readers.common import place

    root = place(context, "thor-depth", folder="thor_depth_prediction")
    return thor.depth(root, split)


TASK = Task(
    name="thor-depth",
    summary="distance of every pixel in simulated rooms, in metres",
    category=Category.STRUCTURAL_PIXEL,
    head="unet",
    loss="l1",
    metric="neg_l1",
    quantity="depth",
    unit="metre",
    data=data,
    protocol=Protocol(epochs=50, batch_size=32),
    n_published={"train": 60_000},
    is_optional=True,
    source="THOR Depth, Kotar et al. 2021; AI2-THOR, Kolve et al. 2017",
    license="none stated (AI2-THOR: Apache-2.0)",
    obtain=(
        "extract the archive of the public ViRB repository (github.com/klemenkotar/ViRB, Dataset Download) as "
        "thor_depth_prediction/ in the data folder."
    ),
    deviations=(
        "The paper trains on 60,000; what the archive holds is used, whatever its number.",
        (
            "The 8-bit depth is read as 0.1 m to 20 m, the simulator's clipping planes; the archive does not "
            "state its scale."
        ),
        "The paper trains on 60,000 and gives no size of the test split; what the archive holds is used, whatever its number.",
        (
            "Scored at the annotation's own resolution, not at 224x224: scores of encoders with other input sizes"
            " stay comparable."
        ),
    ),
)
